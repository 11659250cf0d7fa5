"""Check the plugins that train an encoder: variants, pretext tasks and backbones."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aekit.encoder.loading import load
from aekit.objectives.autoencoder import sample_code
from aekit.objectives.base import Batch, Objective, Pretext, Variant
from aekit.testing.kit import NotApplicableError, check, leaves_global_state_alone
from aekit.testing.trials import DIM, Trial, with_random_labels
from aekit.training.batches import Batches
from aekit.training.checkpoint import State
from aekit.training.loop import train

SIZES = (1, 2, 7)
TRAINING = ("variant", "pretext", "backbone")


@check(*TRAINING)
def shapes(trial: Trial) -> None:
    """batches of 1, 2 and 7 yield (B, D) embeddings, a scalar loss and other scalars, detached"""
    objective = trial.objective()
    encoder = objective.encoder.eval()
    for size in SIZES:
        features = encoder.backbone(encoder.preprocess(trial.raw(size)))
        has_shape("features", features, (size, encoder.backbone.features_dim))
        has_shape("embeddings", encoder(trial.raw(size)), (size, DIM))
        assert encoder(trial.raw(size)).dtype == torch.float32, f"embeddings are {encoder(trial.raw(size)).dtype}"
    objective.train()
    for size in trial.loss_sizes:
        terms = _loss(objective, trial.raw(size))
        assert isinstance(terms, dict), f"loss() returns a {type(terms).__name__}: expected a dict of scalars"
        assert "loss" in terms, f"loss() returns {', '.join(terms)}: expected 'loss' among them"
        for name, value in terms.items():
            has_shape(name, value, ())
            assert torch.isfinite(value), f"{name} of a batch of {size} is {value.item()}"
            assert name == "loss" or not value.requires_grad, (
                f"{name} holds on to its graph: detach() what is only logged"
            )
        code, _ = sample_code(encoder.head, encoder.backbone(encoder.preprocess(trial.raw(size))), new_generator())
        draws = max(1, len(code) // size)  # a head may draw several codes a sample
        has_shape("the head's code", code, (draws * size, DIM))


@check(*TRAINING)
def finite(trial: Trial) -> None:
    """embeddings and all loss terms are finite, even for a constant sample"""
    objective = trial.objective()
    raw = trial.raw(7).clone()
    raw[0] = raw.flatten()[0]
    raw[1] = 0
    for name, value in _loss(objective.train(), raw).items():
        assert torch.isfinite(value).all(), f"{name} is {value.item()}"
    embedded = objective.encoder.eval()(raw)
    assert torch.isfinite(embedded).all(), (
        f"{int((~torch.isfinite(embedded)).sum())} numbers of the embeddings are not finite"
    )


@check(*TRAINING)
def gradients(trial: Trial) -> None:
    """every trainable parameter gets a finite gradient"""
    objective = trial.objective().train()
    _loss(objective, trial.raw(7))["loss"].backward()
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{name} gets no gradient; use it, or set requires_grad to False"
            assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} is not finite"


@check(*TRAINING)
def embedding_deterministic(trial: Trial) -> None:
    """in eval mode its embeddings are deterministic, and global random states do not change"""
    encoder = trial.objective().encoder.eval()
    with torch.no_grad(), leaves_global_state_alone("embedding"):
        first, second = encoder(trial.raw(7)), encoder(trial.raw(7))
    assert torch.equal(first, second), f"two passes differ by up to {(first - second).abs().max():.2g}"


@check(*TRAINING)
def randomness_from_generator(trial: Trial) -> None:
    """all randomness of the loss comes from the generator: global random states neither matter nor change"""
    losses = []
    for seed in (1, 2):
        objective = trial.objective().train()
        torch.manual_seed(seed)
        np.random.seed(seed)
        with leaves_global_state_alone("the loss"):
            losses.append(_loss(objective, trial.raw(16))["loss"])
    assert torch.equal(*losses), (
        f"with one generator, the loss is {losses[0]:.6g} or {losses[1]:.6g}, depending on global seeds"
    )


@check(*TRAINING)
def batch_independence(trial: Trial) -> None:
    """in eval mode a sample's embedding does not depend on its batch: together, one by one, permuted"""
    encoder = trial.objective().encoder.eval()
    raw, order = trial.raw(7), torch.tensor([3, 6, 0, 5, 1, 4, 2])
    with torch.no_grad():
        together = encoder(raw)
        _agree("embedding one by one", torch.cat([encoder(row[None]) for row in raw]), together)
        _agree("embedding in another order", encoder(raw[order]), together[order])


@check("variant", "pretext")
def input_untouched(trial: Trial) -> None:
    """it does not change its input in place"""
    objective = trial.objective().train()
    x = objective.encoder.preprocess(trial.raw(7))
    kept = x.clone()
    plugin = trial.plugin_module(objective)
    if isinstance(plugin, Variant):
        for name in ("augment", "corrupt"):
            getattr(plugin, name)(x, new_generator())
            assert torch.equal(x, kept), f"{name}() changes its input; return a new tensor"
    elif isinstance(plugin, Pretext):
        plugin.loss(x, new_generator())
        assert torch.equal(x, kept), "loss() changes its input; work on a copy"


@check(*TRAINING)
def same_seed_same_losses(trial: Trial) -> None:
    """two runs from one seed have the same losses at every step, and a run from another seed has others"""
    first, second, other = (list(trial.steps(seed, count=4)) for seed in (5, 5, 6))
    assert first == second, f"two runs from one seed differ: losses {listed(first)} and {listed(second)}"
    assert first != other, f"runs from two seeds are the same: losses {listed(first)}"


@check(*TRAINING)
def loss_falls(trial: Trial) -> None:
    """training on low-rank samples reduces the loss"""
    settings = trial.settings(epochs=8, lr=3e-3)
    objective = trial.objective()
    before = _mean_loss(objective, trial)
    for _ in train(
        State.start(objective, settings), Batches(trial.samples, settings.batch_size, settings.seed), settings
    ):
        pass
    after = _mean_loss(objective, trial)
    assert after < before - 0.02 * abs(before), f"the loss was {before:.4g} before, and is {after:.4g} after 64 steps"


@check(*TRAINING)
def save_and_load(trial: Trial) -> None:
    """a saved and loaded encoder has the same digest and bit-equal embeddings"""
    encoder = trial.objective(
        seed=3
    ).encoder.eval()  # loading builds with another seed: what is not saved comes to light
    folder = trial.folder / "encoder"
    shutil.rmtree(folder, ignore_errors=True)
    encoder.save(folder)
    again = load(folder)
    assert again.digest == encoder.digest, "the loaded encoder has another digest"
    with torch.no_grad():
        assert torch.equal(again(trial.raw(7)), encoder(trial.raw(7))), "the loaded encoder computes other embeddings"


@check(*TRAINING, optional=True)
def export(trial: Trial) -> None:
    """its torch.export with a dynamic batch size, traced with 2, agrees for 1, 2 and 7"""
    if trial.plugin.kind == "pretext" or (trial.plugin.kind == "variant" and not trial.code.implements("head")):
        raise NotApplicableError("it is not part of the encoder")
    encoder = trial.objective().encoder.eval()
    # torch explains a failure to its own developers, at length; what a plugin's author needs is in the exception.
    silence = io.StringIO()
    with warnings.catch_warnings(), torch.no_grad(), redirect_stdout(silence), redirect_stderr(silence):
        warnings.simplefilter("ignore")
        shape = ({0: torch.export.Dim("batch", min=1)},)
        program = torch.export.export(encoder, (trial.raw(2),), dynamic_shapes=shape).module()
        for size in SIZES:
            _agree(f"the exported encoder with a batch of {size}", program(trial.raw(size)), encoder(trial.raw(size)))


@check(*TRAINING)
def autocast(trial: Trial) -> None:
    """its loss and gradients are finite in bfloat16"""
    if trial.spec.is_clip:
        raise NotApplicableError("clips are trained in fp32 on a CPU")
    objective = trial.objective().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = _loss(objective, trial.raw(7))["loss"]
    assert torch.isfinite(loss), f"the loss is {loss.item()}"
    loss.backward()
    wrong = [
        name for name, p in objective.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()
    ]
    assert not wrong, f"the gradient of {wrong[0]} is not finite"


@check(*TRAINING)
def labels_do_not_leak(trial: Trial) -> None:
    """its losses and its trained encoder do not depend on the labels"""
    digests, losses = [], []
    for seed in (1, 2):
        objective = trial.objective().train()
        optimizer = torch.optim.SGD(objective.parameters(), lr=0.01)
        for step in range(3):
            terms = objective.loss(with_random_labels(trial.raw(8, 8 * step), seed), new_generator(step))
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            objective.after_step()
            losses.append(terms["loss"].item())
        digests.append(objective.encoder.digest)
    assert losses[:3] == losses[3:], f"the losses depend on the labels: {listed(losses[:3])} and {listed(losses[3:])}"
    assert digests[0] == digests[1], "the trained encoder depends on the labels"


@check("pretext", optional=True)
def hidden_values_do_not_leak(trial: Trial) -> None:
    """values that mask_input() masks affect neither its output nor the encoder's input"""
    objective = trial.objective().train()
    pretext = trial.plugin_module(objective)
    if not isinstance(pretext, Pretext) or not callable(getattr(pretext, "mask_input", None)):
        raise NotApplicableError("it has no mask_input()")
    hide: Hide = pretext.mask_input  # type: ignore[assignment]
    x = objective.encoder.preprocess(trial.raw(7))
    visible, hidden = hide(x, new_generator())
    assert hidden.dtype == torch.bool, f"the mask is {hidden.dtype}: expected bool, of the shape of x"
    hidden = hidden.expand_as(x)
    assert hidden.any() and not hidden.all(), (
        f"masks {int(hidden.sum())} of {hidden.numel()} entries; expected some, but not all"
    )
    again, mask = hide(_with_other_values(x, hidden), new_generator())
    assert torch.equal(mask.expand_as(x), hidden), "the mask depends on the masked values"
    assert torch.equal(again, visible), "the visible part depends on the masked values"
    seen, masks = _what_the_encoder_sees(pretext, x)
    assert masks is not None, "loss() never calls mask_input()"
    told, _ = _what_the_encoder_sees(pretext, _with_other_values(x, masks))
    assert len(seen) == len(told) and all(torch.equal(a, b) for a, b in zip(seen, told)), (
        "the encoder's input in loss() depends on the masked values"
    )


@check("pretext", optional=True)
def shows(trial: Trial) -> None:
    """visualize() returns rows of finite samples or short texts, one per sample, equal for equal generators"""
    objective = trial.objective().eval()
    pretext = trial.plugin_module(objective)
    if not isinstance(pretext, Pretext) or type(pretext).visualize is Pretext.visualize:
        raise NotApplicableError("it has no visualize()")
    x = objective.encoder.preprocess(trial.raw(7))
    kept = x.clone()
    with torch.no_grad(), leaves_global_state_alone("visualize()"):
        rows, again = pretext.visualize(x, new_generator()), pretext.visualize(x, new_generator())
    assert torch.equal(x, kept), "visualize() changes its input; work on a copy"
    assert rows, "visualize() returns no rows; do not define it if there is nothing to show"
    for title, row in rows.items():
        if isinstance(row, Tensor):
            has_shape(f"row {title!r}", row, (7, *trial.spec.shape))
            assert torch.isfinite(row).all(), f"row {title!r} has values that are not finite"
            assert torch.equal(row, again[title]), f"row {title!r} differs from one call to the next"  # type: ignore[arg-type]
        else:
            assert len(row) == 7 and all(isinstance(text, str) for text in row), f"row {title!r}: expected 7 texts"
            assert row == again[title], f"row {title!r} differs from one call to the next"


Hide = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


def _with_other_values(x: Tensor, hidden: Tensor) -> Tensor:
    return torch.where(hidden, x.flip(0) + 3.0, x)


def _what_the_encoder_sees(pretext: Pretext, x: Tensor) -> tuple[list[Tensor], Tensor | None]:
    """Record inputs of the backbone in the passes that train it, and the masks of every call of mask_input().

    Where the task changes samples before it hides parts of them, nothing of `x` itself counts as hidden.
    """
    seen: list[Tensor] = []
    masks: list[Tensor] = []
    hide: Hide = pretext.mask_input  # type: ignore[assignment]

    def look(module: nn.Module, inputs: Any) -> None:
        if torch.is_grad_enabled():  # targets may be made from the whole sample
            seen.append(inputs[0].detach().clone())

    def watch(sample: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        visible, hidden = hide(sample, generator)
        same = sample.shape == x.shape and torch.equal(sample, x)
        masks.append(hidden.expand_as(x) if same else torch.zeros_like(x, dtype=torch.bool))
        return visible, hidden

    handle = pretext.encoder.backbone.register_forward_pre_hook(look)
    pretext.mask_input = watch  # type: ignore[assignment]
    try:
        pretext.loss(x, new_generator())
    finally:
        handle.remove()
        del pretext.mask_input
    return seen, torch.stack(masks).all(0) if masks else None


def _mean_loss(objective: Objective, trial: Trial) -> float:
    objective.train()
    with torch.no_grad():
        values = [_loss(objective, trial.raw(32, 32 * part), part)["loss"].item() for part in range(4)]
    return sum(values) / len(values)


def _loss(objective: Objective, raw: Tensor, seed: int = 0) -> dict[str, Tensor]:
    return objective.loss(Batch(raw), new_generator(seed))


def new_generator(seed: int = 0) -> torch.Generator:
    """Return a generator to pass to a loss."""
    return torch.Generator().manual_seed(seed)


def has_shape(what: str, value: Any, expected: tuple[int, ...]) -> None:
    """Check that a value is a tensor of this shape."""
    assert isinstance(value, Tensor), f"{what} is a {type(value).__name__}: expected a tensor"
    assert tuple(value.shape) == expected, f"{what} has shape {tuple(value.shape)}: expected {expected}"


def _agree(what: str, actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape, f"{what} has shape {tuple(actual.shape)}: expected {tuple(expected.shape)}"
    difference = (actual - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    assert difference <= 1e-4, f"{what} differs by {difference:.2g} of the largest entry"


def listed(losses: list[float]) -> str:
    """Format losses for a message."""
    return ", ".join(f"{loss:.6g}" for loss in losses)
