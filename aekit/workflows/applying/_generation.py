"""Generate samples: decode codes drawn from a prior, or interpolated between two samples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.data.source import read_valid
from aekit.errors import DataError, closest_name
from aekit.registry.options import Field
from aekit.workflows.applying._context import Context, TaskResult

ACROSS, SHOWN, BATCH = 10, 100, 256


@torch.inference_mode()
def sample(
    context: Context,
    *,
    count: Annotated[int, Field(ge=1, description="number of samples")] = 64,
    seed: Annotated[int, Field(ge=0, description="seed of the codes")] = 0,
) -> TaskResult:
    """Sample codes from the prior of the encoder's head, and decode them.

    Raises:
        DataError: the head has no prior.
    """
    draw = getattr(context.encoder.head, "sample", None)
    if draw is None:
        raise DataError(
            f"{context.run}: the autoencoder has no prior to sample from; train with a variant that has one, such as "
            "'vae'"
        )
    generator = torch.Generator(context.encoder.device).manual_seed(seed)
    names = [f"sample-{number}" for number in range(count)]
    outputs, shown = context.outputs(names), list[np.ndarray]()
    with context.progress.task("sample", count) as task:
        for start in range(0, count, BATCH):
            values = context.denormalize(context.decode(draw(min(BATCH, count - start), generator)))
            outputs.add(names[start : start + len(values)], values)
            shown += list(values[: SHOWN - len(shown)])
            task.advance(len(values))
    rows = [shown[start : start + ACROSS] for start in range(0, len(shown), ACROSS)]
    title = f"{len(shown)} of {count} samples from the prior of encoder {context.encoder.digest[:12]}, seed {seed}"
    return TaskResult(context.grid(rows, title=title), details={"count": count, "seed": seed})


@torch.inference_mode()
def interpolate(
    context: Context,
    *,
    pairs: Annotated[
        list[list[str]] | None, Field(description="pairs of ids of samples; by default drawn at random")
    ] = None,
    count: Annotated[int, Field(ge=1, description="number of pairs to draw if none are given")] = 6,
    steps: Annotated[int, Field(ge=2, description="codes from one to the other, including both ends")] = 9,
    method: Annotated[
        Literal["linear", "spherical"], Field(description="along a straight line, or an arc around the origin")
    ] = "linear",
    seed: Annotated[int, Field(ge=0, description="seed of the pairs")] = 0,
) -> TaskResult:
    """Interpolate between the codes of two samples, and decode.

    Raises:
        DataError: an id is not in the data, or a sample cannot be read.
    """
    positions = _find_pairs(context, pairs) if pairs else _draw_pairs(context, count, seed)
    names, codes, ends = [], [], []
    for pair in positions:
        raw, ok = read_valid(context.source, np.asarray(pair))
        first, last = (context.source.ids[row] for row in pair)
        if not ok.all():
            bad = first if not ok[0] else last
            raise DataError(f"{bad}: {context.source.skipped[bad]}")
        a, b = context.encode(to_tensor(raw).to(context.encoder.device))
        codes.append(interpolate_codes(a, b, steps, spherical=method == "spherical"))
        names += [f"{first} to {last}, {step + 1} of {steps}" for step in range(steps)]
        ends.append((first, last, raw))
    outputs, cells = context.outputs(names), []
    for (_, _, raw), code in zip(ends, codes):
        values = context.denormalize(context.decode(code))
        outputs.add(names[: len(values)], values)
        cells.append([raw[0], *values, raw[1]])
    image = context.grid(
        cells,
        column_titles=["sample", *(f"{number / (steps - 1):.2f}" for number in range(steps)), "sample"],
        title=f"{method} interpolation between the codes of two samples",
    )
    samples: list[dict[str, Any]] = [
        {"row": number * steps + step, "from": first, "to": last, "fraction": round(step / (steps - 1), 4)}
        for number, (first, last, _) in enumerate(ends)
        for step in range(steps)
    ]
    return TaskResult(image, samples=samples, details={"pairs": len(ends), "steps": steps, "method": method})


def interpolate_codes(a: Tensor, b: Tensor, steps: int, *, spherical: bool = False) -> Tensor:
    """Interpolate from code `a` to code `b`, both included.

    Args:
        a, b: (D,) codes.
        steps: S, at least 2.
        spherical: along the arc around the origin at constant speed (Shoemake, Animating rotation with quaternion curves,
            1985), for codes of a Gaussian prior: they lie near a sphere, which a straight line leaves.

    Returns:
        (S, D). Codes on one line through the origin have no arc between them and are interpolated linearly.
    """
    fraction = torch.linspace(0, 1, steps, dtype=torch.float64, device=a.device)[:, None]
    first, last = a.double(), b.double()
    cosine = (first @ last) / (first.norm() * last.norm()).clamp(min=1e-300)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if not spherical or float(angle.sin()) < 1e-6:
        return ((1 - fraction) * first + fraction * last).to(a.dtype)
    mixed = ((1 - fraction) * angle).sin() * first + (fraction * angle).sin() * last
    return (mixed / angle.sin()).to(a.dtype)


def _find_pairs(context: Context, pairs: list[list[str]]) -> list[tuple[int, int]]:
    rows = {name: row for row, name in enumerate(context.source.ids)}
    for pair in pairs:
        if len(pair) != 2:
            raise DataError(f"pair {pair}: expected the ids of two samples")
        for name in pair:
            if name not in rows:
                raise DataError(f"no sample {name!r} in {context.data}{closest_name(name, list(rows)[:2000])}")
    return [(rows[first], rows[last]) for first, last in pairs]


def _draw_pairs(context: Context, count: int, seed: int) -> list[tuple[int, int]]:
    if len(context.rows) < 2:
        raise DataError(f"{len(context.rows)} sample in the data: expected at least two to interpolate")
    generator = np.random.default_rng(seed)
    return [tuple(generator.choice(context.rows, 2, replace=False).tolist()) for _ in range(count)]
