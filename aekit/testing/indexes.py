"""Checks of indexes, against exact search by brute force."""

from __future__ import annotations


def index_cases(*a):
    return []
