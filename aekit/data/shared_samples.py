"""Training samples that several processes share: each decodes and keeps a part, and receives the others' batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

from aekit.data.samples import NoneUsable, Samples, load_samples, no_samples, to_tensor
from aekit.data.source import Source, read_valid
from aekit.data.stream import check_any_usable
from aekit.data.streamed_samples import StreamedSamples, must_stream
from aekit.io.processes import Ranks, agreeing, check_alike, decide, part
from aekit.progress import SILENT, Progress


class SharedSamples(Samples):
    """Samples shared by N processes: process r keeps every N-th, from the r-th on; each batch is exchanged as raw bytes.

    `batch` and `chunks` return all samples that are asked for, and are called by all processes alike. Once the processes are
    through with their common work (`leave`), samples are read from the source.

    Args:
        local: the samples of this process.
        ranks: the processes.
        source: of all samples.
        rows: (N,) positions of all samples in the source.
        owners: (N,) number of the process that keeps each sample.
        places: (N,) its position there.
    """

    ranks: Ranks

    def __init__(
        self, local: Samples, ranks: Ranks, source: Source, rows: np.ndarray, owners: np.ndarray, places: np.ndarray
    ) -> None:
        super().__init__(local.spec, rows, local.data, local.device)
        self.local, self.ranks, self.source, self.owners, self.local_places = local, ranks, source, owners, places
        self.left = False

    def batch(self, positions: torch.Tensor) -> torch.Tensor:
        if self.left:
            return to_tensor(read_valid(self.source, self.rows[positions.numpy()])[0]).to(self.device)
        return self._exchanged([positions] * self.ranks.size)

    def shared_batch(self, positions: torch.Tensor) -> torch.Tensor:
        """Gather the share of this process in a batch: every N-th sample of it, from the r-th on."""
        return self._exchanged([positions[rank :: self.ranks.size] for rank in range(self.ranks.size)])

    def with_local(self, local: Samples) -> SharedSamples:
        """Return the same samples in another form, such as their features, of which `local` has those of this process."""
        return SharedSamples(local, self.ranks, self.source, self.rows, self.owners, self.local_places)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows (N, ...) for all samples, of which each process has those of its own (n, ...)."""
        most = int(np.bincount(self.owners).max())
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        return self.ranks.gather(padded)[torch.from_numpy(self.owners), torch.from_numpy(self.local_places)]

    def _exchanged(self, wanted: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the samples that this process wants, given the positions that each process does."""
        rank = self.ranks.rank
        sent = [positions.numpy()[self.owners[positions.numpy()] == rank] for positions in wanted]
        mine = wanted[rank].numpy()
        order = [np.flatnonzero(self.owners[mine] == owner) for owner in range(self.ranks.size)]
        parts = [self.local.batch(torch.from_numpy(self.local_places[positions])) for positions in sent]
        dtype, shape = parts[0].dtype, parts[0].shape[1:]
        rows = [part.contiguous().flatten(1).view(torch.uint8) for part in parts]
        received = torch.cat(self.ranks.exchange(rows, [len(part) for part in order]))
        received = received[torch.from_numpy(np.argsort(np.concatenate(order))).to(received.device)]
        return received.view(dtype).view(-1, *shape)


def computed_by_shares(samples: Samples, compute: Callable[[Samples], torch.Tensor]) -> torch.Tensor:
    """Return what `compute` returns for samples, float32 rows on the CPU, one for each.

    Each of several processes computes those of its own samples, if it has any.
    """
    if not isinstance(samples, SharedSamples):
        return compute(samples)
    rows = compute(samples.local) if len(samples.local) else None
    shapes = samples.ranks.gather_values(None if rows is None else list(rows.shape[1:]))
    if rows is None:
        rows = torch.zeros(0, *next(shape for shape in shapes if shape is not None))
    return samples.gather(rows)


def leave(*several: Samples | None) -> None:
    """End the common work of several processes, if there are any: each reads the samples it needs from their source."""
    for samples in several:
        if isinstance(samples, SharedSamples):
            samples.left = True
        if isinstance(samples, StreamedSamples):
            samples.share_skipped()
        if samples is not None and samples.ranks is not None:
            part()


def load_shared_samples(
    source: Source,
    rows: np.ndarray,
    device: torch.device,
    ranks: Ranks | None = None,
    *,
    strict: bool = False,
    streaming: Literal["auto"] | bool = "auto",
    buffer: int | None = None,
    progress: Progress = SILENT,
) -> Samples:
    """Read samples as `load_samples` does, or prepare to stream them.

    Args:
        source: source of the samples.
        rows: (N,) positions to read.
        device: training device.
        ranks: processes of which each reads its share, so that all know what was skipped; or None.
        strict: stop at the first sample that cannot be used, instead of skipping it.
        streaming: read the samples again in each epoch; ``auto``: where `must_stream` says so.
        buffer: as in `StreamedSamples`.
        progress: receives a progress bar.

    Raises:
        DataError: no sample can be used, or, if `strict`, one of them cannot.
        RecipeError: the processes have different data.
    """
    check_alike(ranks, {"data: samples": len(rows), "data: spec": str(source.spec)})
    if streaming == "auto":
        streaming = decide(ranks, lambda: must_stream(source, rows, device))
    if streaming:
        return StreamedSamples(source, rows, device, buffer=buffer, ranks=ranks, strict=strict)
    if ranks is None:
        return load_samples(source, rows, device, strict=strict, progress=progress)
    share = rows[ranks.rank :: ranks.size]
    with agreeing(ranks):
        try:
            local = load_samples(source, share, device, strict=strict, progress=progress)
        except NoneUsable:
            local = no_samples(source.spec, device)
    unusable = np.setdiff1d(share, local.rows)
    usable = np.ones(len(rows), bool)
    for lost, skipped in ranks.gather_values([unusable.tolist(), source.skipped]):
        usable &= ~np.isin(rows, lost)
        source.skipped.update(skipped)
    check_any_usable(source, int(usable.sum()), len(rows))
    owners = np.arange(len(rows)) % ranks.size
    places = np.empty(len(rows), int)
    for owner in range(ranks.size):
        places[owners == owner] = np.cumsum(usable[owners == owner]) - 1
    return SharedSamples(local, ranks, source, rows[usable], owners[usable], places[usable])
