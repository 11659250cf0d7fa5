"""Restore samples with a trained pretext task, compared with simple methods."""

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
from aekit.workflows.applying._context import CleanOption, Context, TaskResult, TileOption
from aekit.workflows.applying._full_size import FullSizeNetwork, full_size_network
from aekit.workflows.applying._masks import InpaintingMasks
from aekit.workflows.applying._references import CleanReferences, image_files
from aekit.workflows.applying._restored import RestoredSample, evaluate_restoration, open_full_size, read_images


@torch.inference_mode()
def restore(
    context: Context,
    *,
    clean: CleanOption = None,
    mask: Annotated[
        Any, Field(description="the masks: one image or array for all, a folder of the same names, or data")
    ] = None,
    mask_value: Annotated[str | None, Field(description="the value of masked pixels in DATA, or transparent")] = None,
    demonstrate: Annotated[
        bool | None,
        Field(description="DATA is clean: damage it as in training; by default if a task needs masks and has none"),
    ] = None,
    baselines: Annotated[bool, Field(description="compare with simple methods")] = True,
    tile: TileOption = 1024,
    seed: Annotated[int, Field(ge=0, description="seed of the damage in demonstrations")] = 0,
) -> TaskResult:
    """Restore damaged samples with a pretext task of the run, images at their original size if the task supports it.

    Raises:
        RecipeError: settings that the task does not support, or that exclude each other.
    """
    name, task, notes = context.task, context.pretext_tasks[context.task], list[str]()
    restoration = task if isinstance(task, RestorationTask) else None
    uses_masks = restoration is not None and callable(getattr(restoration, "mask_input", None))
    _check(
        name,
        restoration,
        uses_masks and restoration is not None and restoration.directed,
        {"clean": clean, "mask": mask, "mask_value": mask_value},
        demonstrate,
    )
    if demonstrate is None and uses_masks and clean is None and mask is None and mask_value is None:
        demonstrate = True
        notes.append("no masks were given: DATA is assumed clean, and the task draws its own masks")
    upscales = restoration is not None and restoration.enlarges and not demonstrate
    full = _full_size(context, restoration)
    source, network = _open_small_samples(context, full) if upscales else open_full_size(context, full, notes)
    rows = source.rows_of(context.split)
    masks = (
        InpaintingMasks(mask, mask_value, context, source, network is not None)
        if mask is not None or mask_value is not None
        else None
    )
    references = (
        CleanReferences(clean, context, source, original_size=network is not None) if clean is not None else None
    )
    methods: Mapping[str, Baseline] = {"input": lambda damaged: damaged.visible}
    if restoration is not None:
        available = restoration.baselines(notes)
        methods = available if baselines else dict(list(available.items())[:1])

    def damaged(number: int, positions: list[int], raw: np.ndarray) -> DamagedBatch:
        x = context.encoder.preprocess(to_tensor(raw).to(context.encoder.device))
        if demonstrate and restoration is not None:
            return restoration.damage(x, torch.Generator(x.device).manual_seed(derive_seed(seed, number)))
        hidden = None
        if masks is not None:
            arrays = np.stack([masks.mask_for(row, sample) for row, sample in zip(positions, raw)])
            hidden = torch.from_numpy(arrays).to(x.device)
        return restoration.prepare_damaged(x, hidden) if restoration else DamagedBatch(x, hidden)

    def steps() -> Iterator[RestoredSample]:
        for number, (positions, raw) in enumerate(
            _batches(context, source, rows, one_by_one=upscales or network is not None)
        ):
            batch = damaged(number, positions, raw)
            if upscales and network is None and batch.visible.shape[1:] != context.spec.shape:
                actual, expected = (
                    "x".join(map(str, shape)) for shape in (batch.visible.shape[1:], context.spec.shape)
                )
                raise DataError(
                    f"{source.ids[positions[0]]}: upscaled it is {actual}, the network takes {expected}: {full}"
                )
            restored = network.restore(batch.visible[0], tile)[None] if network else task.transform(batch.visible)  # type: ignore[operator]
            others = (
                {t: context.denormalize(way(batch)) for t, way in methods.items()} if demonstrate or references else {}
            )
            inputs, results = context.denormalize(batch.visible), context.denormalize(batch.composite(restored))
            for i, row in enumerate(positions):
                reference = raw[i] if demonstrate else None
                if references and not demonstrate:
                    reference = references.reference_for(row, results[i].shape)
                hidden = None if batch.mask is None else batch.mask[i].cpu().numpy()
                others_of_sample = {title: values[i] for title, values in others.items()}
                yield RestoredSample(row, inputs[i], results[i], others_of_sample, reference, hidden)

    result = evaluate_restoration(context, source, rows, steps(), "input", notes)
    if masks is not None and masks.empty:
        notes.append(f"{masks.empty} of {len(result.samples)} samples have an empty mask")
    result.details |= {"original_size": network is not None, "demonstration": bool(demonstrate)}
    return result


def unknown_task(context: Context, known: Mapping[str, Any]) -> str:
    """Explain why a task is unknown: name the pretext that trains it, or the nearest task."""
    name = context.task
    for plugin in registry().by_kind("pretext"):
        try:
            if getattr(plugin.load(), "task", None) == name:
                return f"task {name!r}: {context.run} was not trained for it; train with --pretext {plugin.name}"
        except PluginError:  # reported by `aekit plugins`
            continue
    return f"task {name!r}: no such task{closest_name(name, [*known, *context.pretext_tasks])}"


def _check(
    name: str, task: RestorationTask | None, takes_masks: bool, options: dict[str, Any], demonstrate: bool | None
) -> None:
    used = [option for option, value in options.items() if value is not None]
    masks = [option for option in used if option != "clean"]
    problem = ""
    if demonstrate and used:
        problem = f"{name}.demonstrate: the task damages clean DATA itself; leave out {used[0]}"
    elif demonstrate and task is None:
        problem = f"{name}.demonstrate: the task cannot damage samples"
    elif masks and not takes_masks:
        problem = f"{name}.{masks[0]}: the task takes no masks; leave it out"
    elif len(masks) == 2:
        problem = f"{name}.mask, mask_value: expected only one"
    elif takes_masks and not masks and (used or demonstrate is False):
        problem = f"{name}: expected mask or mask_value, or demonstrate alone"
    if problem:
        raise RecipeError([problem])


def _full_size(context: Context, task: RestorationTask | None) -> FullSizeNetwork | str:
    """Return the network for images of any size, or the reason why it supports only one size."""
    if task is None:
        return "the task supports no other sizes"
    if task.any_size and context.spec.is_image:
        return FullSizeNetwork(task.transform, 1, whole=True)
    return full_size_network(context.encoder, task.decoder, task.transform)


def _open_small_samples(context: Context, full: FullSizeNetwork | str) -> tuple[Source, FullSizeNetwork | None]:
    """Open the samples to upscale, at their original size."""
    source, actual, expected = context.original_size_source, context.original_size_source.spec, context.spec
    actual_kind = (actual.kind, actual.shape[0], actual.dtype)
    if not image_files(source) and actual_kind != (expected.kind, expected.shape[0], expected.dtype):
        supported = f"{expected.kind} samples of {expected.shape[0]} channels, {expected.dtype}"
        raise DataError(f"samples are {actual}, the task upscales {supported}")
    return source, None if isinstance(full, str) else full


def _batches(
    context: Context, source: Source, rows: np.ndarray, one_by_one: bool
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield rows and raw samples (B, *shape): batches at the size of the network, or single samples at their original size."""
    if not one_by_one:
        for positions, raw in context.batches("apply", rows):
            yield positions.tolist(), raw.cpu().numpy()
        return
    for row, image in read_images(source, rows, context):
        yield [row], image[None]
