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
from aekit.workflows.applying._restored import RestorationStep, RestoredSample, evaluate_restoration, open_full_size


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
    task, notes = context.pretext_tasks[context.task], list[str]()
    restoration = task if isinstance(task, RestorationTask) else None
    uses_masks = restoration is not None and callable(getattr(restoration, "mask_input", None))
    _check(
        context.task,
        restoration,
        uses_masks and restoration is not None and restoration.directed,
        {"clean": clean, "mask": mask, "mask_value": mask_value},
        demonstrate,
    )
    if demonstrate is None and uses_masks and clean is None and mask is None and mask_value is None:
        demonstrate = True
        notes.append("no masks were given: DATA is assumed clean, and the task draws its own masks")
    settings = {"clean": clean, "mask": mask, "mask_value": mask_value, "demonstrate": bool(demonstrate)}
    settings |= {"baselines": baselines, "tile": tile, "seed": seed}
    step = Restoration(context, notes, **settings)
    result, empty = evaluate_restoration(context, step, settings, notes)
    if step.masks is not None and empty:
        notes.append(f"{empty} of {len(result.samples)} samples have an empty mask")
    result.details |= {"original_size": step.network is not None, "demonstration": bool(demonstrate)}
    return result


class Restoration(RestorationStep):
    """Restore samples by a pretext task, and by simple methods.

    Args:
        context: the run and the data.
        notes: receives what was left out, and why.
        clean, mask, mask_value, demonstrate, baselines, tile, seed: as of `restore`.
    """

    def __init__(
        self,
        context: Context,
        notes: list[str],
        *,
        clean: Any,
        mask: Any,
        mask_value: str | None,
        demonstrate: bool,
        baselines: bool,
        tile: int,
        seed: int,
    ) -> None:
        self.task = context.pretext_tasks[context.task]
        self.restoration = self.task if isinstance(self.task, RestorationTask) else None
        self.demonstrate, self.tile, self.seed = demonstrate, tile, seed
        self.upscales = self.restoration is not None and self.restoration.enlarges and not demonstrate
        self.full = _full_size(context, self.restoration)
        source, self.network = (
            _open_small_samples(context, self.full) if self.upscales else open_full_size(context, self.full, notes)
        )
        super().__init__(context, source, self.upscales or self.network is not None, "input")
        original_size = self.network is not None
        has_masks = mask is not None or mask_value is not None
        self.masks = InpaintingMasks(mask, mask_value, context, source, original_size) if has_masks else None
        self.references = None if clean is None else CleanReferences(clean, context, source, original_size)
        self.methods: Mapping[str, Baseline] = {"input": lambda damaged: damaged.visible}
        if self.restoration is not None:
            available = self.restoration.baselines(notes)
            self.methods = available if baselines else dict(list(available.items())[:1])

    def restore(self, positions: list[int], raw: np.ndarray) -> Iterator[RestoredSample]:
        context, network = self.context, self.network
        batch = self._damaged(positions, raw)
        if self.upscales and network is None and batch.visible.shape[1:] != context.spec.shape:
            actual, expected = ("x".join(map(str, shape)) for shape in (batch.visible.shape[1:], context.spec.shape))
            raise DataError(
                f"{self.source.ids[positions[0]]}: upscaled it is {actual}, the network takes {expected}: {self.full}"
            )
        restored = network.restore(batch.visible[0], self.tile)[None] if network else self.task.transform(batch.visible)  # type: ignore[operator]
        ways = self.methods if self.demonstrate or self.references else {}
        others = {title: context.denormalize(way(batch)) for title, way in ways.items()}
        inputs, results = context.denormalize(batch.visible), context.denormalize(batch.composite(restored))
        for i, row in enumerate(positions):
            reference = raw[i] if self.demonstrate else None
            if self.references and not self.demonstrate:
                reference = self.references.reference_for(row, results[i].shape)
            hidden = None if batch.mask is None else batch.mask[i].cpu().numpy()
            others_of_sample = {title: values[i] for title, values in others.items()}
            yield RestoredSample(row, inputs[i], results[i], others_of_sample, reference, hidden)

    def _damaged(self, positions: list[int], raw: np.ndarray) -> DamagedBatch:
        """Return samples as the task restores them: damaged as in training, or with their masks."""
        x = self.context.encoder.preprocess(to_tensor(raw).to(self.context.encoder.device))
        if self.demonstrate and self.restoration is not None:
            number = self.number(positions[0]) // self.batch
            generator = torch.Generator(x.device).manual_seed(derive_seed(self.seed, number))
            return self.restoration.checked_damage(x, generator)
        hidden = None
        if self.masks is not None:
            arrays = np.stack([self.masks.mask_for(row, sample) for row, sample in zip(positions, raw)])
            hidden = torch.from_numpy(arrays).to(x.device)
        return self.restoration.prepare_damaged(x, hidden) if self.restoration else DamagedBatch(x, hidden)


def unknown_task(context: Context, known: Mapping[str, Any]) -> str:
    """Explain why a task is unknown: name the pretext that trains it, or the nearest task."""
    name = context.task
    for plugin in registry().by_kind("pretext"):
        try:
            if getattr(plugin.load(), "task", None) == name:
                return f"task {name!r}: {context.run} was not trained for it; train with pretext task {plugin.name!r}"
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
