"""First weights from elsewhere: of an encoder that aekit trained before, or what the backbone knows how to take up.

They are taken up once, at the beginning of a run. An encoder that is loaded, and the random one that it is compared with,
never ask for them.
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
    """Gives an encoder the weights that ``encoder.weights`` names, all or none, and notes in its record where they came from.

    Args:
        encoder: with random weights.
        where: the folder of an encoder or a run; else what the backbone takes. ``""``: the random weights are kept.
        frozen: whether stages will be frozen: then an encoder whose backbone alone is the same will do, and what lies above that
            keeps its random weights.

    Raises:
        RecipeError, DataError: they do not fit, or cannot be had; says why.
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
            _own(encoder).load_state_dict(_own(earlier).state_dict(), strict=True)
        found = {"digest": earlier.digest}
    else:
        try:
            found = encoder.backbone.load_pretrained(where, encoder.preprocess)
        except NotImplementedError:
            name = encoder.architecture["backbone"]["name"]
            raise RecipeError(
                [
                    f"encoder.weights = {where!r}: backbone {name!r} takes up those of an aekit encoder alone; "
                    f"expected the folder of one, or of a run"
                ]
            ) from None
    encoder.record["weights"] = {"from": where, **found}


def initial_scaling(section: EncoderSection, samples: Samples) -> tuple[Preprocess, str]:
    """Chooses the scaling of a run, and says why: that of the encoder which it begins from, unless the recipe names one.

    Args:
        section: of the recipe.
        samples: of the training split only.
    """
    if section.weights and section.scaling == "auto" and Path(section.weights).is_dir():
        earlier = load(section.weights)
        if earlier.spec.shape == samples.spec.shape and earlier.spec.dtype == samples.spec.dtype:
            return earlier.preprocess, f"as that of {section.weights}"
    return fit_preprocess(samples, section.scaling)


def _own(encoder: Encoder) -> Backbone:
    """The backbone itself, without dense layers on top."""
    backbone = encoder.backbone
    return backbone.trunk if isinstance(backbone, BackboneWithDense) else backbone


def _check_same(earlier: Encoder, now: Encoder, where: str, frozen: bool) -> None:
    """Refuses weights that would mean something else here.

    Raises:
        RecipeError: another kind of sample, or another architecture.
    """
    if (earlier.spec.kind, earlier.spec.shape, earlier.spec.dtype) != (now.spec.kind, now.spec.shape, now.spec.dtype):
        raise RecipeError([f"encoder.weights = {where!r}: is of {earlier.spec}, but the data is {now.spec}"])
    needed = ["backbone"] if frozen else {*earlier.architecture, *now.architecture}
    before, after = ({name: one.architecture.get(name) for name in needed} for one in (earlier, now))
    if found := describe_changes(before, after):
        raise RecipeError([f"encoder.weights = {where!r}: is of another architecture: {'; '.join(found[:3])}"])
