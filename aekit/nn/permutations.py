"""Permutations that differ in as many places as can be, so that telling them apart takes more than a look at two pieces."""

from __future__ import annotations

from functools import cache
from itertools import permutations as all_permutations

import numpy as np
import torch
from torch import Tensor


@cache
def distant_permutations(length: int, count: int) -> Tensor:
    """(count, length) int64, the identity first; always the same. At most ``length!`` of them.

    Each is, of all that are left, the one whose Hamming distances to those before it have the largest mean. Of several, it is
    one whose smallest distance is largest, and of those the first in lexicographic order.

    Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016, algorithm 1, which
    starts with any permutation.
    """
    every = np.array(list(all_permutations(range(length))), dtype=np.int8).T.copy()  # (length, all of them)
    total, closest = np.zeros(every.shape[1], np.int32), np.full(every.shape[1], length, np.uint8)
    chosen = [0]
    while len(chosen) < min(count, every.shape[1]):
        distance = (every != every[:, chosen[-1], None]).sum(0, dtype=np.uint8)
        total += distance
        np.minimum(closest, distance, out=closest)
        # A distance of 0 marks those that are taken.
        chosen.append(int(((total * (length + 1) + closest) * (closest > 0)).argmax()))
    return torch.from_numpy(every[:, chosen].T.astype(np.int64))
