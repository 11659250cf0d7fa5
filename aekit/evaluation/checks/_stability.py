"""Check how much embeddings change when samples are perturbed by a small shift and a little noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.data.source import Source, read_valid
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.encoder.inference import Inference
from aekit.evaluation.baselines.build import flatten_samples, raw_shape
from aekit.evaluation.checks.embedding_health import NEIGHBORS, nearest_other_rows
from aekit.evaluation.neighbors import nearest_neighbors
from aekit.evaluation.results import CheckResult
from aekit.evaluation.splits import evenly_spaced

MAX_SAMPLES = 2000
NOISE = 0.1
"""Deviation of the noise, in deviations of the samples."""
MIN_SHIFTED_SIZE = 16
"""Size of an axis from which a shift by one position is small."""
MIN_NEIGHBORS_KEPT = 0.1
"""Fraction of kept neighbors below which an encoder is unstable, if the raw samples keep twice as many."""
BATCH = 256


def stability(encoder: Encoder, source: Source, rows: np.ndarray, *, seed: int = 0) -> CheckResult:
    """Measure how embeddings change under a small perturbation of the samples.

    Images, series and clips are shifted by one position along axes of 16 or more, and all samples get noise of a tenth of their
    deviation.

    Args:
        encoder: the frozen encoder.
        source: source of the samples.
        rows: (N,) positions in the source, of which at most 2,000, evenly spaced, are used.
        seed: seed of the noise and of the directions.

    Returns:
        ``alignment``, the mean squared distance between a sample and its perturbed copy on the unit sphere (Wang and Isola,
        2020);
        ``neighbors_kept``, the fraction of a sample's 10 nearest neighbors that its perturbed copy shares; ``retrieved``, the
        fraction of perturbed copies whose nearest neighbor is the sample itself; and ``raw_neighbors_kept`` and
        ``raw_retrieved``, the same for the raw samples.
    """
    sample = evenly_spaced(rows, MAX_SAMPLES)
    generator = torch.Generator(encoder.device).manual_seed(seed)
    shape = raw_shape(encoder.spec)
    clean_rows: dict[str, list[np.ndarray]] = {"": [], "raw_": []}
    perturbed_rows: dict[str, list[np.ndarray]] = {"": [], "raw_": []}
    run = Inference(encoder, 2 * len(sample), device=encoder.device, forward=lambda network, x: network.encode(x))
    with eval_mode(encoder):
        for start in range(0, len(sample), BATCH):
            raw, ok = read_valid(source, sample[start : start + BATCH])
            x = encoder.preprocess(to_tensor(raw[ok]).to(encoder.device))
            for collected, samples in ((clean_rows, x), (perturbed_rows, perturb(x, generator))):
                code = run(samples)
                code = torch.nn.functional.normalize(code, dim=1) if encoder.normalize else code
                collected[""].append(code.cpu().numpy())
                collected["raw_"].append(flatten_samples(samples, shape).cpu().numpy())
    values: dict[str, float] = {}
    for prefix in ("", "raw_"):
        before, after = np.concatenate(clean_rows[prefix]), np.concatenate(perturbed_rows[prefix])
        if len(before) <= NEIGHBORS + 1:
            return CheckResult(notes=[f"stability was not measured, as {len(before)} samples are too few"])
        if not prefix:
            values["alignment"] = float(np.square(unit_rows(before) - unit_rows(after)).sum(axis=1).mean())
        values |= {f"{prefix}{name}": value for name, value in neighbor_fractions(before, after).items()}
    warnings = []
    if values["neighbors_kept"] < min(MIN_NEIGHBORS_KEPT, 0.5 * values["raw_neighbors_kept"]):
        warnings.append(
            f"unstable: a slightly perturbed sample keeps {100 * values['neighbors_kept']:.0f}% of its {NEIGHBORS} nearest "
            f"neighbors, and raw samples keep {100 * values['raw_neighbors_kept']:.0f}%"
        )
    return CheckResult(values, warnings, [f"stability: {len(before):,} perturbed test samples"])


def perturb(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each of (B, *shape) preprocessed samples by one position in a random direction, and add noise."""
    noise = torch.randn(x.shape, generator=generator, device=x.device) * (NOISE * x.std())
    return _shift(x, generator) + noise


def _shift(x: Tensor, generator: torch.Generator) -> Tensor:
    for axis in range(max(2, x.ndim - 2), x.ndim):  # height and width; time of series
        size = x.shape[axis]
        if size < MIN_SHIFTED_SIZE:
            continue
        step = torch.randint(-1, 2, (len(x),), generator=generator, device=x.device)
        at = (torch.arange(size, device=x.device) + step[:, None]).clamp(0, size - 1)  # the border is repeated
        at = at.view(len(x), *(1 for _ in range(1, axis)), size, *(1 for _ in range(axis + 1, x.ndim)))
        x = x.gather(axis, at.expand_as(x))
    return x


def neighbor_fractions(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Compare the neighbors of samples and of their perturbed copies, both (N, D)."""
    neighbors = nearest_other_rows(before)
    _, positions = nearest_neighbors(after, before, NEIGHBORS + 1, metric="l2")
    itself = positions == np.arange(len(before))[:, None]
    retrieved = float(itself[:, 0].mean())
    itself[~itself.any(axis=1), -1] = True
    perturbed_neighbors = positions[~itself].reshape(len(before), NEIGHBORS)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(neighbors, perturbed_neighbors)]
    return {"neighbors_kept": float(np.mean(shared)) / NEIGHBORS, "retrieved": retrieved}


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale (N, D) rows to length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
