"""Permutations that differ in as many positions as possible, so that two pieces do not suffice to tell them apart."""

from __future__ import annotations

from functools import cache
from itertools import permutations as all_permutations

import numpy as np
import torch
from torch import Tensor


@cache
def distant_permutations(length: int, count: int) -> Tensor:
    """Return (count, length) int64 permutations, the identity first; deterministic, and at most ``length!`` of them.

    Each one has the largest mean Hamming distance to those before it. Ties go to the largest smallest distance, then to the
    first in lexicographic order.

    Noroozi and Favaro, Unsupervised learning of visual representations by solving jigsaw puzzles, 2016, algorithm 1, which
    starts with any permutation.
    """
    candidates = np.array(list(all_permutations(range(length))), dtype=np.int8).T.copy()  # (length, all of them)
    total, closest = np.zeros(candidates.shape[1], np.int32), np.full(candidates.shape[1], length, np.uint8)
    chosen = [0]
    while len(chosen) < min(count, candidates.shape[1]):
        distance = (candidates != candidates[:, chosen[-1], None]).sum(0, dtype=np.uint8)
        total += distance
        np.minimum(closest, distance, out=closest)
        # A distance of 0 marks those already chosen.
        chosen.append(int(((total * (length + 1) + closest) * (closest > 0)).argmax()))
    return torch.from_numpy(candidates[:, chosen].T.astype(np.int64))
