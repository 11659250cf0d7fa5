"""Initialize an encoder with pretrained weights: of an earlier aekit encoder, or those that its backbone can load.

Weights are loaded once, at the beginning of a run. Loading a saved encoder, and building the random baseline, never does.
"""

from __future__ import annotations

from pathlib import Path

from aekit.data.samples import Samples
from aekit.encoder.backbone import Backbone, BackboneWithDense
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import load
from aekit.encoder.preprocessing import Preprocess, fit_preprocess
from aekit.errors import RecipeError
from aekit.registry.overrides import describe_changes
from aekit.training.recipe import EncoderSection


def load_pretrained(encoder: Encoder, where: str, *, frozen: bool = False) -> None:
    """Load the weights that ``encoder.weights`` names, all or none, and record where they came from.

    Args:
        encoder: with random weights.
        where: the folder of an encoder or a run; else a name that the backbone can load. ``""`` keeps the random weights.
        frozen: whether stages will be frozen; then only the backbones must be the same, and layers above keep their random
            weights.

    Raises:
        RecipeError, DataError: the weights do not fit or cannot be loaded.
    """
    if not where:
        return
    if Path(where).is_dir():
        earlier = load(where)
        _check_same(earlier, encoder, where, frozen)
        if earlier.architecture == encoder.architecture:
            encoder.backbone.load_state_dict(earlier.backbone.state_dict(), strict=True)
            encoder.head.load_state_dict(earlier.head.state_dict(), strict=True)
        else:
            _trunk(encoder).load_state_dict(_trunk(earlier).state_dict(), strict=True)
        origin = {"digest": earlier.digest}
    else:
        try:
            origin = encoder.backbone.load_pretrained(where, encoder.preprocess)
        except NotImplementedError:
            name = encoder.architecture["backbone"]["name"]
            raise RecipeError(
                [
                    f"encoder.weights = {where!r}: backbone {name!r} has no weights of that name; "
                    f"expected the folder of an aekit encoder or run"
                ]
            ) from None
    # The name alone of a file: records hold no home folder of their author.
    encoder.record["weights"] = {"from": Path(where).name if Path(where).is_absolute() else where, **origin}


def initial_scaling(section: EncoderSection, samples: Samples) -> tuple[Preprocess, str]:
    """Choose the preprocessing of a run, with the reason: that of the pretrained encoder, unless the recipe sets a scaling.

    Args:
        section: ``[encoder]`` of the recipe.
        samples: training samples.
    """
    if section.weights and section.scaling == "auto" and Path(section.weights).is_dir():
        earlier = load(section.weights)
        if earlier.spec.shape == samples.spec.shape and earlier.spec.dtype == samples.spec.dtype:
            return earlier.preprocess, f"as in {section.weights}"
    return fit_preprocess(samples, section.scaling)


def _trunk(encoder: Encoder) -> Backbone:
    """Return the backbone without the dense layers on top."""
    backbone = encoder.backbone
    return backbone.trunk if isinstance(backbone, BackboneWithDense) else backbone


def _check_same(earlier: Encoder, now: Encoder, where: str, frozen: bool) -> None:
    """Reject weights of another architecture or for other samples.

    Raises:
        RecipeError: another kind of sample, or another architecture.
    """
    if (earlier.spec.kind, earlier.spec.shape, earlier.spec.dtype) != (now.spec.kind, now.spec.shape, now.spec.dtype):
        raise RecipeError([f"encoder.weights = {where!r}: was trained on {earlier.spec}, but the data is {now.spec}"])
    needed = ["backbone"] if frozen else {*earlier.architecture, *now.architecture}
    before, after = ({name: each.architecture.get(name) for name in needed} for each in (earlier, now))
    if changes := describe_changes(before, after):
        raise RecipeError([f"encoder.weights = {where!r}: has another architecture: {'; '.join(changes[:3])}"])
