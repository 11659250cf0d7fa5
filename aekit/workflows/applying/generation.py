"""New samples: codes drawn from a prior, and codes on the way between those of two samples, decoded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from aekit.data.samples import to_tensor
from aekit.data.source import read_valid
from aekit.errors import DataError, closest_name
from aekit.registry.options import Field
from aekit.workflows.applying.context import Context, TaskResult

ACROSS, SHOWN, BATCH = 10, 100, 256


@torch.inference_mode()
def sample(
    context: Context,
    *,
    count: Annotated[int, Field(ge=1, description="samples to make")] = 64,
    seed: Annotated[int, Field(ge=0, description="of what is drawn")] = 0,
) -> TaskResult:
    """Writes decoded codes from the prior of the run's head.

    Raises:
        DataError: the head has no prior.
    """
    draw = getattr(context.encoder.head, "sample", None)
    if draw is None:
        raise DataError(
            f"{context.run}: a plain autoencoder has no distribution to sample from; train one with a variant that has a "
            "prior, such as --variant vae"
        )
    generator = torch.Generator(context.encoder.device).manual_seed(seed)
    names = [f"sample-{number}" for number in range(count)]
    outputs, shown = context.outputs(names), list[np.ndarray]()
    with context.progress.task("sample", count) as task:
        for start in range(0, count, BATCH):
            made = context.denormalize(context.decode(draw(min(BATCH, count - start), generator)))
            outputs.add(names[start : start + len(made)], made)
            shown += list(made[: SHOWN - len(shown)])
            task.advance(len(made))
    rows = [shown[start : start + ACROSS] for start in range(0, len(shown), ACROSS)]
    title = f"{len(shown)} of {count} samples from the prior of encoder {context.encoder.digest[:12]}, seed {seed}"
    return TaskResult(context.grid(rows, title=title), details={"count": count, "seed": seed})


@torch.inference_mode()
def interpolate(
    context: Context,
    *,
    pairs: Annotated[list[list[str]] | None, Field(description="ids of two samples each; by default drawn")] = None,
    count: Annotated[int, Field(ge=1, description="pairs to draw where none are named")] = 6,
    steps: Annotated[int, Field(ge=2, description="codes from the one to the other, both ends included")] = 9,
    method: Annotated[
        Literal["linear", "spherical"], Field(description="along the line, or the arc around the origin")
    ] = "linear",
    seed: Annotated[int, Field(ge=0, description="of the pairs that are drawn")] = 0,
) -> TaskResult:
    """Writes what lies between two samples: their codes, and those on the way from the one to the other, decoded.

    Raises:
        DataError: an id that the data does not have, or a sample that cannot be read.
    """
    chosen = _named(context, pairs) if pairs else _drawn(context, count, seed)
    names, codes, ends = [], [], []
    for one, other in chosen:
        raw, ok = read_valid(context.source, np.asarray([one, other]))
        first, last = context.source.ids[one], context.source.ids[other]
        if not ok.all():
            bad = first if not ok[0] else last
            raise DataError(f"{bad}: {context.source.skipped[bad]}")
        a, b = context.encode(to_tensor(raw).to(context.encoder.device))
        codes.append(interpolate_codes(a, b, steps, spherical=method == "spherical"))
        names += [f"{first} to {last}, {step + 1} of {steps}" for step in range(steps)]
        ends.append((first, last, raw))
    outputs, cells = context.outputs(names), []
    for (_, _, raw), code in zip(ends, codes):
        made = context.denormalize(context.decode(code))
        outputs.add(names[: len(made)], made)
        cells.append([raw[0], *made, raw[1]])
    image = context.grid(
        cells,
        column_titles=["sample", *(f"{number / (steps - 1):.2f}" for number in range(steps)), "sample"],
        title=f"between the codes of two samples, {method}",
    )
    samples: list[dict[str, Any]] = [
        {"row": number * steps + step, "from": first, "to": last, "share": round(step / (steps - 1), 4)}
        for number, (first, last, _) in enumerate(ends)
        for step in range(steps)
    ]
    return TaskResult(image, samples=samples, details={"pairs": len(ends), "steps": steps, "way": method})


def interpolate_codes(a: Tensor, b: Tensor, steps: int, *, spherical: bool = False) -> Tensor:
    """Codes from `a` to `b`, both included.

    Args:
        a, b: (D,).
        steps: S, two at least.
        spherical: along the arc around the origin, at an even pace (Shoemake, Animating rotation with quaternion curves,
            1985), for codes of a gaussian prior: they lie near a sphere, and the line between two leaves it.

    Returns:
        (S, D). Codes on one line through the origin have no arc between them and are joined by the line.
    """
    share = torch.linspace(0, 1, steps, dtype=torch.float64, device=a.device)[:, None]
    first, last = a.double(), b.double()
    cosine = (first @ last) / (first.norm() * last.norm()).clamp(min=1e-300)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if not spherical or float(angle.sin()) < 1e-6:
        return ((1 - share) * first + share * last).to(a.dtype)
    mixed = ((1 - share) * angle).sin() * first + (share * angle).sin() * last
    return (mixed / angle.sin()).to(a.dtype)


def _named(context: Context, pairs: list[list[str]]) -> list[tuple[int, int]]:
    places = {name: row for row, name in enumerate(context.source.ids)}
    for pair in pairs:
        if len(pair) != 2:
            raise DataError(f"pair {pair}: expected the ids of two samples")
        for name in pair:
            if name not in places:
                raise DataError(f"no sample {name!r} in {context.data}{closest_name(name, list(places)[:2000])}")
    return [(places[one], places[other]) for one, other in pairs]


def _drawn(context: Context, count: int, seed: int) -> list[tuple[int, int]]:
    if len(context.rows) < 2:
        raise DataError(f"{len(context.rows)} sample in the data: two are needed to go from one to the other")
    generator = np.random.default_rng(seed)
    return [tuple(generator.choice(context.rows, 2, replace=False).tolist()) for _ in range(count)]
