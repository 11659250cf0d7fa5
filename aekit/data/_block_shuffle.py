"""Shuffle in two levels: blocks of neighboring samples in random order, and their samples in a buffer."""

from __future__ import annotations

import numpy as np


class BlockShuffle:
    """A random order of N samples in which reading goes from block to block, and few samples wait in memory.

    Blocks arrive in random order, and the samples of each in theirs. The sample that arrives as number i gets the key
    ``i + buffer * u`` with u uniform in [0, 1), and samples leave in the order of their keys. So at most `buffer` of them have
    arrived and not left, and the place of any sample follows from its neighbors alone: a process finds its share, and a
    resumed run its batch, without repeating what lies before.

    Args:
        starts: (K + 1,) first position of each of K blocks, and N.
        buffer: number of samples among which one is shuffled.
        seed: the order depends on it, the blocks and the buffer alone.

    Attributes:
        count: N.
    """

    def __init__(self, starts: np.ndarray, buffer: int, seed: int) -> None:
        self.count, self.buffer, self._seed = int(starts[-1]), buffer, seed
        order = np.random.default_rng(seed).permutation(len(starts) - 1)
        self._first = starts[:-1][order]
        self._ends = np.cumsum(np.diff(starts)[order])
        self._begins = self._ends - np.diff(starts)[order]

    def arriving(self, first: int, last: int) -> np.ndarray:
        """Return the positions (M,) of the samples that arrive as numbers `first` to `last` - 1."""
        numbers = np.arange(first, last)
        blocks = np.searchsorted(self._ends, numbers, side="right")
        return self._first[blocks] + numbers - self._begins[blocks]

    def places(self, first: int, last: int) -> np.ndarray:
        """Return the places (M,) in the shuffled order of the samples that arrive as numbers `first` to `last` - 1."""
        low, high = max(0, first - self.buffer), min(self.count, last + self.buffer)
        # Samples before `low` have smaller keys than all of these, and samples from `high` on have larger ones.
        keys = np.arange(low, high) + self.buffer * self._draws(low, high)
        places = np.empty(high - low, np.int64)
        places[np.argsort(keys, kind="stable")] = np.arange(low, high)
        return places[first - low : last - low]

    def _draws(self, first: int, last: int) -> np.ndarray:
        """Return uniform numbers that depend on the seed and the number of the sample alone."""
        begin = first - first % 4  # Philox counts in steps of four numbers
        generator = np.random.Generator(np.random.Philox(key=self._seed).advance(begin // 4))
        return generator.random(last - begin)[first - begin :]


def cut_blocks(rows: np.ndarray, whole: np.ndarray | None, size: int) -> np.ndarray:
    """Cut samples into blocks.

    Args:
        rows: (N,) ascending positions in a source.
        whole: (K + 1,) first position of each block that the source reads as a whole, and its length; None: it has none.
        size: number of samples of each block otherwise.

    Returns:
        (L + 1,) first of the N samples of each block, and N.
    """
    first = np.arange(0, len(rows), size) if whole is None else np.searchsorted(rows, whole)
    return np.unique(np.append(first, [0, len(rows)]))
