"""Whether an encoder places a sample where it was, when the sample is shifted a little and gets a little noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.evaluation.baselines.build import flatten_samples, raw_shape
from aekit.evaluation.checks.embedding_health import NEIGHBORS, nearest_other_rows
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.evaluation.results import CheckResult
from aekit.evaluation.splits import evenly_spaced

MOST = 2000
NOISE = 0.1
"""Deviation of the noise, in deviations of the samples."""
WIDE = 16
"""Places from which on one is little."""
LOST = 0.1
BATCH = 256


def stability(encoder: Encoder, source: Source, rows: np.ndarray, *, seed: int = 0) -> CheckResult:
    """What a nudge does to embeddings: images, series and clips are shifted by one place, where they have 16 or more, and all
    samples get noise of a tenth of their deviation.

    Args:
        encoder: frozen.
        source: of the samples.
        rows: (N,) positions in it; at most 2,000, evenly spaced, are looked at.
        seed: of the noise and the directions.

    Returns:
        ``alignment``, the mean squared distance between a sample and its nudged self on the unit sphere (Wang and Isola, 2020);
        ``neighbors_kept``, the share of a sample's 10 nearest that its nudged self has, too; ``found_again``, the share of
        nudged samples whose nearest is the sample itself; and the last two of the raw samples, which no training has taught.
    """
    some = evenly_spaced(rows, MOST)
    generator = torch.Generator(encoder.device).manual_seed(seed)
    shape = raw_shape(encoder.spec)
    clean: dict[str, list[np.ndarray]] = {"": [], "raw_": []}
    moved: dict[str, list[np.ndarray]] = {"": [], "raw_": []}
    with eval_mode(encoder):
        for start in range(0, len(some), BATCH):
            raw, ok = read_valid(source, some[start : start + BATCH])
            x = encoder.preprocess(to_tensor(raw[ok]).to(encoder.device))
            for kept, samples in ((clean, x), (moved, nudged(x, generator))):
                code = encoder.encode(samples).float()
                code = torch.nn.functional.normalize(code, dim=1) if encoder.normalize else code
                kept[""].append(code.cpu().numpy())
                kept["raw_"].append(flatten_samples(samples, shape).cpu().numpy())
    figures: dict[str, float] = {}
    for of in ("", "raw_"):
        before, after = np.concatenate(clean[of]), np.concatenate(moved[of])
        if len(before) <= NEIGHBORS + 1:
            return CheckResult(notes=[f"stability was not measured: {len(before)} samples are too few"])
        if not of:
            figures["alignment"] = float(np.square(_unit(before) - _unit(after)).sum(axis=1).mean())
        figures |= {f"{of}{name}": value for name, value in _kept(before, after).items()}
    warnings = []
    if figures["neighbors_kept"] < min(LOST, 0.5 * figures["raw_neighbors_kept"]):
        warnings.append(
            f"unstable: of a sample's {NEIGHBORS} nearest only {100 * figures['neighbors_kept']:.0f} % are left when it is "
            f"nudged, where raw samples keep {100 * figures['raw_neighbors_kept']:.0f} %"
        )
    return CheckResult(figures, warnings, [f"stability: {len(before):,} test samples, nudged"])


def nudged(x: Tensor, generator: torch.Generator) -> Tensor:
    """(B, *shape) preprocessed -> (B, *shape), each shifted by one place in a direction of its own, with noise."""
    noise = torch.randn(x.shape, generator=generator, device=x.device) * (NOISE * x.std())
    return _shifted(x, generator) + noise


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    for axis in range(max(2, x.ndim - 2), x.ndim):  # height and width; time of series; of clips the images'
        size = x.shape[axis]
        if size < WIDE:
            continue
        step = torch.randint(-1, 2, (len(x),), generator=generator, device=x.device)
        at = (torch.arange(size, device=x.device) + step[:, None]).clamp(0, size - 1)  # the border is repeated
        at = at.view(len(x), *(1 for _ in range(1, axis)), size, *(1 for _ in range(axis + 1, x.ndim)))
        x = x.gather(axis, at.expand_as(x))
    return x


def _kept(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """(N, D) embeddings of samples and of their nudged selves."""
    known = nearest_other_rows(before)
    _, found = nearest_neighbors(after, before, NEIGHBORS + 1, metric="l2")
    itself = found == np.arange(len(before))[:, None]
    again = float(itself[:, 0].mean())
    itself[~itself.any(axis=1), -1] = True
    theirs = found[~itself].reshape(len(before), NEIGHBORS)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(known, theirs)]
    return {"neighbors_kept": float(np.mean(shared)) / NEIGHBORS, "found_again": again}


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
