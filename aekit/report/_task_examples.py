"""Cards of a run's page: inputs and outputs of the trained objective for a few samples, and the filters of its first layer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from torch import Tensor, nn

from aekit.data.samples import Samples
from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder
from aekit.encoder.eval_mode import eval_mode
from aekit.objectives.base import Batch, Objective
from aekit.visualization.page import Page, card, figure, gallery, image_strips, preformatted
from aekit.visualization.sprite_cells import SpriteSheetBuilder
from aekit.visualization.sprite_sheets import SpriteSheet, image_sprite_sheet, numeric_sprite_sheet
from aekit.visualization.thumbnails import BARS

SHOWN = 8
FILTERS = 64
_TITLES = {
    "autoencoder": (
        "Reconstruction",
        "Samples, the encoder's input where it differs, and the decoder's output. The error is brightest, or highest, where it "
        "is largest.",
    ),
}


def task_example_cards(
    page: Page, objective: Objective, samples: Samples, targets: Samples | None, sprites: SpriteSheetBuilder, seed: int
) -> list[str]:
    """Return a card for each part of the objective that can be visualized.

    A part that fails, which may be a plugin, does not cost a run its report: the card shows its error instead.
    """
    positions = torch.linspace(0, len(samples) - 1, min(SHOWN, len(samples))).long()
    batch = Batch(samples.batch(positions), target=None if targets is None else targets.batch(positions))
    generator = torch.Generator(samples.device).manual_seed(seed)
    try:
        with eval_mode(objective):
            parts = objective.visualize(batch, generator)
            return [_part(page, name, rows, sprites, _legend(samples.spec)) for name, rows in parts.items()]
    except Exception as error:
        return [card("Task examples", "These could not be drawn:", preformatted(repr(error)))]


def _legend(spec: SampleSpec) -> str:
    """Name the bars of a vector with few entries, where the entries have names."""
    names = spec.names if spec.is_vector and spec.size <= BARS else []
    return f" The bars are, from the left: {', '.join(names)}." if names else ""


def _part(page: Page, name: str, rows: dict[str, Tensor | list[str]], sprites: SpriteSheetBuilder, legend: str) -> str:
    title, below = _TITLES.get(name, (f"Task: {name}", "Inputs and outputs for a few training samples."))
    drawn: list[tuple[str, Sequence[str]]] = []
    wide = 1.0
    for row, values in rows.items():
        if isinstance(values, Tensor):
            error = row == "error"
            cells = sprites.errors_to_cells(values) if error else sprites.to_cells(values)
            sheet = sprites.sprite_sheet(cells, zero=0.0 if error else None)
            wide = sheet.aspect
            drawn.append((row, [page.thumbnail(sheet, n, f"{row} {n + 1}") for n in range(len(values))]))
        else:
            drawn.append((row, [f'<div class="said">{escape(str(text))}</div>' for text in values]))
    return card(title, below + legend, image_strips(drawn, wide=wide))


def filter_card(page: Page, encoder: Encoder) -> str:
    """Draw the filters of the first layer like samples; "" where they do not have the shape of a patch or a sample."""
    filters = first_layer_weights(encoder)
    if filters is None:
        return ""
    weights, total = filters
    sheet = _filter_sheet(weights)
    size = " x ".join(map(str, weights.shape[2:]))
    some = f"The {len(weights)} largest of {total}" if len(weights) < total else f"All {total}"
    below = f"{some} filters, over {weights.shape[1]} channel{'s' if weights.shape[1] > 1 else ''} of {size}. "
    below += "Gray is 0, white positive, black negative." if weights.ndim > 3 else "The middle of the height is 0."
    drawn = [figure(page.thumbnail(sheet, n, f"filter {n + 1}")) for n in range(len(weights))]
    return card("First layer", below, gallery(drawn, cell=56 if sheet.aspect <= 1.3 else 80))


@torch.no_grad()
def first_layer_weights(encoder: Encoder) -> tuple[np.ndarray, int] | None:
    """Return the weights (K, C, ...) float32 of the first layer that has any, the largest first, and their whole number.

    None where the weights do not extend over a patch of the sample, or the whole of it.
    """
    layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    layer = next((module for module in encoder.backbone.modules() if isinstance(module, layers)), None)
    if layer is None:
        return None
    weight = layer.weight.detach().float().cpu()
    shape = encoder.spec.shape
    if isinstance(layer, nn.Linear):
        if weight.shape[1] != encoder.spec.size:
            return None
        weight = weight.reshape(len(weight), *(shape if len(shape) > 1 else (1, *shape)))
    elif weight.ndim != len(shape) + 1 or weight[0, 0].numel() < 2:
        return None
    order = weight.flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:FILTERS]
    return weight[order].numpy(), len(weight)


def _filter_sheet(weights: np.ndarray) -> SpriteSheet:
    """Draw each filter on its own scale, with 0 in the middle: three channels as colors, otherwise the first channel."""
    most = np.abs(weights).reshape(len(weights), -1).max(1).clip(min=1e-12)
    inside = weights / most.reshape(-1, *[1] * (weights.ndim - 1)) / 2 + 0.5
    cells = (inside * 255).round().astype(np.uint8)
    if weights.ndim == 3:
        return numeric_sprite_sheet(cells[:, :4], bars=cells.shape[1] == 1 and cells.shape[2] <= 64, zero=0.5)
    if weights.ndim == 5:  # the frames of a clip's filter stand side by side
        cells = np.concatenate(list(np.moveaxis(cells, 2, 0)), axis=3)
    cells = cells if cells.shape[1] == 3 else cells[:, :1].repeat(3, 1)
    return image_sprite_sheet(np.ascontiguousarray(cells.transpose(0, 2, 3, 1)))
