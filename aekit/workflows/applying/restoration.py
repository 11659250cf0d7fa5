"""What the run's own pretext tasks do once they are trained: samples restored, beside simple ways to do it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import torch

from aekit.data.samples import to_tensor
from aekit.data.source import Source
from aekit.errors import DataError, PluginError, RecipeError, closest_name
from aekit.objectives.restoration import Baseline, DamagedBatch, RestorationTask
from aekit.registry.discovery import registry
from aekit.registry.options import Field
from aekit.training.batches import derive_seed
from aekit.workflows.applying.context import Context, TaskResult
from aekit.workflows.applying.full_size import FullSizeNetwork, full_size_network
from aekit.workflows.applying.masks import InpaintingMasks
from aekit.workflows.applying.references import CleanReferences, image_files
from aekit.workflows.applying.restored import RestoredSample, evaluate_restoration, open_full_size, read_image


@torch.inference_mode()
def restore(
    context: Context,
    *,
    clean: Annotated[
        Any, Field(description="the undamaged samples: data, a folder of the same names, or a column of DATA")
    ] = None,
    mask: Annotated[
        Any, Field(description="where the holes are: one image or array for all, a folder of the same names, or data")
    ] = None,
    mask_value: Annotated[str | None, Field(description="what a hole is: transparent, or a value of DATA")] = None,
    demonstrate: Annotated[
        bool | None,
        Field(description="DATA is undamaged: damage it as in training; by default where a task is not told of holes"),
    ] = None,
    baselines: Annotated[bool, Field(description="simple ways to restore beside it")] = True,
    tile: Annotated[int, Field(ge=0, description="side of the pieces that large images are done in; 0: whole")] = 1024,
    seed: Annotated[int, Field(ge=0, description="of the damage, to demonstrate")] = 0,
) -> TaskResult:
    """Writes what a pretext task that the run was trained for makes of damaged samples, at the natural size of images where
    it can.

    Raises:
        RecipeError: settings that this task has no use for, or that exclude each other.
    """
    name, task, notes = context.task, context.pretext_tasks[context.task], list[str]()
    own = task if isinstance(task, RestorationTask) else None
    pierced = own is not None and callable(getattr(own, "mask_input", None))
    _check(
        name,
        own,
        pierced and own is not None and own.directed,
        {"clean": clean, "mask": mask, "mask_value": mask_value},
        demonstrate,
    )
    if demonstrate is None and pierced and clean is None and mask is None and mask_value is None:
        demonstrate = True
        notes.append("no holes are named: DATA is taken as undamaged, and the holes are the task's own")
    larger = own is not None and own.enlarges and not demonstrate
    full = _full_size(context, own)
    source, sized = _as_it_is(context, full) if larger else open_full_size(context, full, notes)
    rows = source.rows_of(context.split)
    holes = (
        InpaintingMasks(mask, mask_value, context, source, sized is not None)
        if mask is not None or mask_value is not None
        else None
    )
    references = CleanReferences(clean, context, source, own_size=sized is not None) if clean is not None else None
    ways: Mapping[str, Baseline] = {"as they are": lambda damaged: damaged.visible}
    if own is not None:
        known = own.baselines(notes)
        ways = known if baselines else dict(list(known.items())[:1])

    def damaged(number: int, positions: list[int], raw: np.ndarray) -> DamagedBatch:
        x = context.encoder.preprocess(to_tensor(raw).to(context.encoder.device))
        if demonstrate and own is not None:
            return own.damage(x, torch.Generator(x.device).manual_seed(derive_seed(seed, number)))
        hidden = None
        if holes is not None:
            found = np.stack([holes.mask_for(row, one) for row, one in zip(positions, raw)])
            hidden = torch.from_numpy(found).to(x.device)
        return own.prepare_damaged(x, hidden) if own else DamagedBatch(x, hidden)

    def steps() -> Iterator[RestoredSample]:
        for number, (positions, raw) in enumerate(
            _batches(context, source, rows, one_by_one=larger or sized is not None)
        ):
            seen = damaged(number, positions, raw)
            if larger and sized is None and seen.visible.shape[1:] != context.spec.shape:
                wrong, wanted = ("x".join(map(str, shape)) for shape in (seen.visible.shape[1:], context.spec.shape))
                raise DataError(
                    f"{source.ids[positions[0]]}: enlarged it is {wrong}, the network takes {wanted}: {full}"
                )
            restored = sized.restore(seen.visible[0], tile)[None] if sized else task.transform(seen.visible)  # type: ignore[operator]
            others = {t: context.denormalize(way(seen)) for t, way in ways.items()} if demonstrate or references else {}
            given, made = context.denormalize(seen.visible), context.denormalize(seen.composite(restored))
            for place, row in enumerate(positions):
                true = (
                    raw[place]
                    if demonstrate
                    else references.reference_for(row, made[place].shape)
                    if references
                    else None
                )
                hidden = None if seen.mask is None else seen.mask[place].cpu().numpy()
                yield RestoredSample(
                    row, given[place], made[place], {t: v[place] for t, v in others.items()}, true, hidden
                )

    found = evaluate_restoration(context, source, rows, steps(), "seen", notes)
    if holes is not None and holes.empty:
        notes.append(f"{holes.empty} of {len(found.samples)} samples have no hole")
    found.details |= {"own size": sized is not None, "demonstration": bool(demonstrate)}
    return found


def unknown_task(context: Context, known: Mapping[str, Any]) -> str:
    """Why the job's task cannot be done: which pretext task trains it, or the nearest name."""
    name = context.task
    for plugin in registry().by_kind("pretext"):
        try:
            if getattr(plugin.load(), "task", None) == name:
                return f"task {name!r}: {context.run} was not trained for it; train with --pretext {plugin.name}"
        except PluginError:  # reported by `aekit plugins`
            continue
    return f"task {name!r}: no such task{closest_name(name, [*known, *context.pretext_tasks])}"


def _check(name: str, own: RestorationTask | None, told: bool, given: dict[str, Any], demonstrate: bool | None) -> None:
    named = [option for option, value in given.items() if value is not None]
    holes = [option for option in named if option != "clean"]
    problem = ""
    if demonstrate and named:
        problem = f"{name}.demonstrate: DATA is taken as undamaged, and damaged by the task; leave out {named[0]}"
    elif demonstrate and own is None:
        problem = f"{name}.demonstrate: the task has no way to damage samples"
    elif holes and not told:
        problem = f"{name}.{holes[0]}: the task is not told where to restore; leave it out"
    elif len(holes) == 2:
        problem = f"{name}.mask, mask_value: expected only one"
    elif told and not holes and (named or demonstrate is False):
        problem = f"{name}: expected mask or mask_value, or demonstrate alone"
    if problem:
        raise RecipeError([problem])


def _full_size(context: Context, own: RestorationTask | None) -> FullSizeNetwork | str:
    """The task for images of any size, or why it runs on those of one size only."""
    if own is None:
        return "the task does not say that it takes others"
    if own.any_size and context.spec.is_image:
        return FullSizeNetwork(own.transform, 1, whole=True)
    return full_size_network(context.encoder, own.decoder, own.transform)


def _as_it_is(context: Context, full: FullSizeNetwork | str) -> tuple[Source, FullSizeNetwork | None]:
    """Samples that are yet to be enlarged."""
    source, wanted = context.original_size_source, context.spec
    found = source.spec
    if not image_files(source) and (found.kind, found.shape[0], found.dtype) != (
        wanted.kind,
        wanted.shape[0],
        wanted.dtype,
    ):
        what = f"{wanted.kind} samples of {wanted.shape[0]} channels, {wanted.dtype}"
        raise DataError(f"samples are {found}, the task enlarges {what}")
    return source, None if isinstance(full, str) else full


def _batches(
    context: Context, source: Source, rows: np.ndarray, one_by_one: bool
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Rows, and raw samples (B, *shape): at the network's size, or one after the other at their own."""
    if not one_by_one:
        for positions, raw in context.batches("apply", rows):
            yield positions.tolist(), raw.cpu().numpy()
        return
    with context.progress.task("apply", len(rows)) as task:
        for row in rows.tolist():
            task.advance()
            one = read_image(source, row, context)
            if one is not None:
                yield [row], one[None]
