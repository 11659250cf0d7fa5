"""Run networks forward in eval mode: in batches that suit memory and caches, on a faster copy, in fp32 or bf16.

Vectors in fp32 are the reference. The engine changes them by rounding alone; bf16 changes them visibly, so it is recorded with
the vectors and is chosen without being asked for only where it is faster and agrees with fp32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from aekit.encoder._folding import faster_copy, observe
from aekit.encoder._side_by_side import Copies, compute_side_by_side, is_copyable, threads_restored
from aekit.errors import OutOfMemoryError, RecipeError, closest_name
from aekit.io.device import multiplies_bf16
from aekit.io.memory import VARIABLE, format_bytes, spendable_memory
from aekit.progress import SILENT, Progress

Precision = Literal["auto", "fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16")
Forward = Callable[[Any, Tensor], Tensor]
"""Function of a network, or a copy of it, and raw samples (B, *shape) that returns (B, D), or values of any other shape. It is
called in several threads, each with a copy of its own, so it changes nothing else."""

MAX_BATCH = 256
"""Samples that are read, and at most computed, at a time."""
READ_BYTES = 64 * 2**20
"""Most bytes of raw samples that are read at a time."""
ACTIVATION_BYTES = 16 * 2**20
"""Largest output of a layer on a CPU: larger ones leave the caches, and glibc returns their memory, whose pages then fault each
time."""
DEVICE_BYTES = 2**30
"""The same on an accelerator, whose caches no batch that keeps it busy fits into."""
SIDE_BY_SIDE_BYTES = 2 * 2**20
"""Largest output of a layer from which batches are computed side by side: below, Python's lock would be waited for."""
MIN_SAMPLES = 64
"""Fewest samples for which preparing a faster copy pays."""
FEW_BYTES = 8 * 2**20
"""Bytes of fewer samples for which it pays too, as they are large; at once they could take more memory than there is."""
HELD = 2
"""Results of a layer that are held at a time: what it takes and what it returns."""
PROBED = 4
"""Samples on which the copy is compared with the network."""
COMPARED = 16
"""Fewest samples on which bf16 is compared with fp32; a whole batch, if that is larger."""
COMPARISON_PAYS = 32
"""Fewest samples, as a multiple of those compared, for which comparing bf16 with fp32 pays."""
MIN_COSINE = 0.9999
"""Mean cosine similarity of vectors in bf16 and fp32 that agree."""
MIN_CENTERED = 0.999
"""The same for differences from the mean vector: vectors that all point the same way have a cosine of 1 without agreeing."""
MIN_SPEEDUP = 1.25
"""Ratio of the times of fp32 and bf16 from which bf16 pays."""
MIN_SECONDS = 1.0
"""Seconds that all samples take in fp32 from which bf16 pays."""


class Inference:
    """A network that is run forward over many samples, in eval mode and without gradients.

    The first batch decides how: on a faster copy if there are samples enough, in batches whose activations stay in the caches,
    and with ``auto`` in bf16 if that is faster and agrees. The network, its weights and its digest are not modified.

    Args:
        network: an encoder, or any network together with `forward`; a copy is made of its state at the first batch.
        samples: number of samples it will be run on, which decides what preparation pays.
        forward: what to compute of the network; by default its own forward pass.
        precision: ``fp32``, ``bf16``, or ``auto``.
        batch_size: samples per forward pass; None: as many as suit memory and caches.
        device: device of the network.
        progress: receives why ``auto`` chose bf16, or that bf16 does not agree.
        free_cores: number of cores to compute on, called before each forward pass, e.g. to leave cores to others; None: as many
            as torch has threads.

    Raises:
        RecipeError: there is no such precision.
        OutOfMemoryError: a batch of `batch_size` samples takes more memory than a CPU has; raised by the first batch.

    Attributes:
        precision: ``fp32`` or ``bf16``; ``auto`` until the first batch.
        batch_size: samples per forward pass; None until the first batch.
    """

    def __init__(
        self,
        network: Any,
        samples: int,
        *,
        device: torch.device,
        forward: Forward | None = None,
        precision: Precision = "fp32",
        batch_size: int | None = None,
        progress: Progress = SILENT,
        free_cores: Callable[[], int] | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            expected = "expected 'auto', 'fp32' or 'bf16'"
            raise RecipeError([f"precision = {precision!r}: {expected}{closest_name(precision, PRECISIONS)}"])
        self.samples, self.device, self.progress = samples, device, progress
        self.precision, self.batch_size = precision, batch_size
        self._free_cores = free_cores
        self._network, self._forward = network, forward or (lambda network, raw: network(raw))
        self._prepared = False
        self._copies: Copies | None = None

    @torch.inference_mode()
    def __call__(self, raw: Tensor) -> Tensor:
        """Compute (N, D) float32 vectors, or what `forward` returns, on the device, of (N, *shape) raw samples on any device."""
        if not self._prepared:
            self._prepare(raw[:MAX_BATCH].to(self.device))
        return self._run(raw, self.precision)

    def _run(self, raw: Tensor, precision: str) -> Tensor:
        batches = raw.split(self.batch_size or MAX_BATCH)
        compute = partial(self._compute, precision=precision)
        threads = torch.get_num_threads()
        free_cores = self._free_cores or (lambda: threads)
        with threads_restored():
            if self._copies is not None and len(batches) > 1 and (threads > 1 or self._free_cores is not None):
                outputs = compute_side_by_side(compute, self._copies, batches, free_cores)
            else:
                outputs = []
                for batch in batches:
                    if (cores := free_cores()) != torch.get_num_threads():
                        torch.set_num_threads(cores)
                    outputs.append(compute(self._network, batch))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    @torch.inference_mode()
    def _compute(self, network: Any, batch: Tensor, *, precision: str) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return self._forward(network, batch.to(self.device)).float()

    def _prepare(self, raw: Tensor) -> None:
        self._prepared = True
        is_large = self.samples >= MIN_SAMPLES or raw.nbytes > FEW_BYTES
        if is_large and isinstance(self._network, nn.Module):
            self._optimize(raw[:PROBED])
        self.batch_size = self.batch_size or MAX_BATCH
        if self.precision == "auto":
            self.precision = self._choose_precision(raw)

    def _optimize(self, raw: Tensor) -> None:
        def run(network: nn.Module) -> Tensor:
            return self._forward(network, raw).float()

        seen = observe(self._network, run)
        on_cpu = self.device.type == "cpu"
        if self.batch_size is None:
            most = ACTIVATION_BYTES if on_cpu else DEVICE_BYTES
            self.batch_size = max(1, min(MAX_BATCH, most // max(1, seen.largest)))
        elif on_cpu:
            check_batch_memory(min(self.batch_size, self.samples), HELD * seen.largest, "computing")
        self._network = faster_copy(self._network, seen, run, self.batch_size)
        is_large = self.batch_size * seen.largest >= SIDE_BY_SIDE_BYTES
        if on_cpu and is_large and not seen.draws and is_copyable(self._network):
            self._copies = Copies(self._network)

    def _choose_precision(self, raw: Tensor) -> Precision:
        """Compare bf16 with fp32 if bf16 may be faster, and report the choice."""
        sample = raw[: max(COMPARED, self.batch_size or 1)]
        if not multiplies_bf16(self.device) or self.samples < COMPARISON_PAYS * len(sample):
            return "fp32"
        cosine, centered = agreement(self._run(sample, "bf16"), self._run(sample, "fp32"))
        measured = (
            f"mean cosine similarity to fp32 {cosine:.5f}, {centered:.4f} around their mean, {len(sample)} samples"
        )
        if cosine < MIN_COSINE or centered < MIN_CENTERED:
            self.progress.say(f"computing in fp32: bf16 does not agree ({measured})")
            return "fp32"
        seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
        for _ in range(2):
            for precision, times in seconds.items():  # alternating, so that other load affects both
                start = time.perf_counter()
                self._run(sample, precision)
                _wait(self.device)
                times.append(time.perf_counter() - start)
        speedup = min(seconds["fp32"]) / min(seconds["bf16"])
        whole = min(seconds["fp32"]) * self.samples / len(sample)
        if speedup < MIN_SPEEDUP or whole < MIN_SECONDS:  # in short work noise decides which is faster
            return "fp32"
        self.progress.say(f"computing in bf16: {speedup:.1f} times as fast ({measured})")
        return "bf16"


def agreement(vectors: Tensor, reference: Tensor) -> tuple[float, float]:
    """Return the mean cosine similarity of vectors (N, D) with their reference, and that of their differences from its mean."""
    mean = reference.mean(0)
    centered = cosine_similarity(vectors - mean, reference - mean)
    return float(cosine_similarity(vectors, reference).mean()), float(centered.mean())


def check_batch_memory(batch_size: int, per_sample: int, what: str) -> None:
    """Refuse a batch size that a user has chosen and that main memory cannot hold, as Linux would end the process.

    Args:
        batch_size: number of samples.
        per_sample: bytes of one of them.
        what: what is done with a batch, for the message.

    Raises:
        OutOfMemoryError: it takes more than `aekit.io.memory.spendable_memory`.
    """
    if batch_size * per_sample <= FEW_BYTES or (free := spendable_memory()) is None:
        return
    if (needed := batch_size * per_sample) > free:
        short = f"{what} a batch takes {format_bytes(needed)} of memory or more, and {format_bytes(free)} are free"
        fits = f"expected {free // (2 * per_sample)} or less; set {VARIABLE}, such as 64GB, to allow more"
        raise OutOfMemoryError(f"batch_size (--batch-size) = {batch_size}: {short}; {fits}")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
