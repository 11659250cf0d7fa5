"""Check backbones: sizes, decoders, stages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from aekit.data.samples import load_samples
from aekit.data.source import ArraySource
from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder
from aekit.encoder.preprocessing import fit_preprocess
from aekit.errors import RecipeError
from aekit.testing.kit import NotApplicableError, check
from aekit.testing.samples import SHAPES, low_rank
from aekit.testing.trials import DIM, Trial


@check("backbone")
def any_size(trial: Trial) -> None:
    """small, odd-sized and elongated samples of 1, 3 and 5 channels are embedded, or refused by a ValueError"""
    taken = 0
    for spec, encoder in _encoders(trial):
        taken += 1
        shape = tuple(encoder.eval()(_raw(spec)).shape)
        assert shape == (2, DIM), f"{spec}: embeddings have shape {shape}"
    assert taken, f"it refuses {trial.spec.kind} samples of every size: {', '.join(map(str, SHAPES[trial.spec.kind]))}"


@check("backbone", optional=True)
def decoder(trial: Trial) -> None:
    """its decoder outputs the shape of the sample, odd or even"""
    for spec, encoder in _encoders(trial):
        try:
            output = encoder.backbone.decoder(DIM).eval()(torch.zeros(2, DIM))
        except NotImplementedError as error:
            raise NotApplicableError(f"no decoder: {error}") from None
        assert tuple(output.shape[1:]) == spec.shape, f"{spec}: the decoder outputs shape {tuple(output.shape[1:])}"


@check("backbone")
def stages(trial: Trial) -> None:
    """its stages, applied in order and flattened, equal its forward; features have the declared shape"""
    encoder = trial.objective().encoder.eval()
    backbone = encoder.backbone
    x = encoder.preprocess(trial.raw(2))
    expected, actual = backbone(x), x
    for stage in backbone.stages:
        actual = stage(actual)
    shape = tuple(actual.shape[1:])
    assert shape == tuple(backbone.features_shape), f"stages give {shape}, features_shape is {backbone.features_shape}"
    assert actual.flatten(1).shape[1] == backbone.features_dim, (
        f"features_dim is {backbone.features_dim}: expected {shape}"
    )
    assert torch.equal(actual.flatten(1), expected), "the stages in order compute other features than forward"


@check("backbone", optional=True)
def mirror(trial: Trial) -> None:
    """the mirror of a stage maps its output back to the shape of its input"""
    for spec, encoder in _encoders(trial):
        x = encoder.preprocess(_raw(spec))
        for number, stage in enumerate(encoder.backbone.eval().stages):
            try:
                back = encoder.backbone.mirror(number).eval()
            except NotImplementedError as error:
                raise NotApplicableError(f"no mirror: {error}") from None
            out = stage(x)
            shape = tuple(back(out).shape)
            assert shape == tuple(x.shape), (
                f"{spec}: the mirror of stage {number} outputs {shape}, expected {tuple(x.shape)}"
            )
            x = out


def _encoders(trial: Trial) -> Iterator[tuple[SampleSpec, Encoder]]:
    """Yield encoders for samples of the sizes that the backbone supports."""
    for shape in SHAPES[trial.spec.kind]:
        spec = SampleSpec(trial.spec.kind, shape, trial.spec.dtype)
        samples = load_samples(ArraySource(low_rank(spec, 8), kind=spec.kind), np.arange(8), torch.device("cpu"))
        try:
            yield spec, trial.encoder_with(spec, fit_preprocess(samples)[0])
        except RecipeError as error:
            if not isinstance(error.__cause__, ValueError):
                raise


def _raw(spec: SampleSpec) -> torch.Tensor:
    return torch.from_numpy(low_rank(spec, 2))
