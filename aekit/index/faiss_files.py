"""Check the parts of a FAISS index from a file before anything uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aekit.errors import IdentityError

LEAVES = {
    *("IndexFlat", "IndexFlatL2", "IndexFlatIP", "IndexScalarQuantizer", "IndexPQ", "IndexPQFastScan", "IndexLSH"),
    *("IndexRaBitQ", "IndexRaBitQFastScan", "IndexResidualQuantizer", "IndexLocalSearchQuantizer"),
    *("MultiIndexQuantizer", "MultiIndexQuantizer2"),
}
FAISS_PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LEAVES, ()),
    "IndexPreTransform": ("index",),
    "IndexRefine": ("base_index", "refine_index"),
    "IndexRefineFlat": ("base_index", "refine_index"),
    **{f"IndexHNSW{codes}": ("storage",) for codes in ("", "Flat", "SQ", "PQ", "RaBitQ")},
    **{f"IndexNSG{codes}": ("storage",) for codes in ("", "Flat", "SQ", "PQ")},
    **{
        f"IndexIVF{codes}": ("quantizer",)
        for codes in (
            "Flat",
            "ScalarQuantizer",
            "PQ",
            "PQR",
            "PQFastScan",
            "RaBitQ",
            "RaBitQFastScan",
            "ResidualQuantizer",
        )
    },
}
"""Type of an index that may be opened -> its parts."""
LISTS = ("ArrayInvertedLists", "BlockInvertedLists")
"""Types of inverted lists that are part of the index file."""
MAX_DEPTH = 8
"""Levels of parts within parts."""


def check_faiss_index(faiss: Any, index: Any, path: Path, *, mapped: bool) -> None:
    """Check the types and the sizes of all parts of an index before anything uses it: FAISS trusts its files.

    An index file can name another file, in which FAISS then looks for inverted lists and to which it adds vectors; its parts
    can contradict each other, which makes a search read outside its memory.

    Args:
        faiss: the module.
        index: as `faiss.read_index` returned it.
        path: its file.
        mapped: whether its inverted lists were mapped into memory from this file.

    Raises:
        IdentityError: it has a part that aekit does not open, names a file, or its parts contradict each other.
    """
    for problem in _problems(faiss, faiss.downcast_index(index), path, mapped, 0):
        raise IdentityError(f"{path}: {problem}; build the index again from its embeddings")


def _problems(faiss: Any, index: Any, path: Path, mapped: bool, depth: int) -> Iterator[str]:
    name = type(index).__name__
    if name not in FAISS_PARTS:
        yield f"holds a part of type {name}, which aekit does not open"
    elif depth > MAX_DEPTH:
        yield f"has parts within parts, {depth} levels deep"
    else:
        parts = [faiss.downcast_index(getattr(index, part)) for part in FAISS_PARTS[name]]
        yield from _contradictions(name, index, parts)
        if hasattr(index, "invlists"):
            yield from _list_problems(faiss, index, path, mapped)
        for part in parts:
            yield from _problems(faiss, part, path, mapped, depth + 1)


def _contradictions(name: str, index: Any, parts: list[Any]) -> Iterator[str]:
    for part in parts:
        expected_count = index.nlist if hasattr(index, "invlists") else index.ntotal
        if part.ntotal != expected_count:
            yield f"is damaged: a {name} of {expected_count} entries has a part of {part.ntotal}"
        if name != "IndexPreTransform" and part.d != index.d:
            yield f"is damaged: a {name} of {index.d} dimensions has a part of {part.d}"
    if name == "IndexPreTransform":
        dim = index.d
        for number in range(index.chain.size()):
            transform = index.chain.at(number)
            if transform.d_in != dim:
                yield f"is damaged: a transformation of {transform.d_in} dimensions follows {dim}"
            dim = transform.d_out
        if parts[0].d != dim:
            yield f"is damaged: an index of {parts[0].d} dimensions follows {dim}"


def _list_problems(faiss: Any, index: Any, path: Path, mapped: bool) -> Iterator[str]:
    lists = faiss.downcast_InvertedLists(index.invlists)
    name = type(lists).__name__
    sizes = (index.code_size, faiss.InvertedLists.INVALID_CODE_SIZE)  # blocks of packed codes have no size of an entry
    if lists.nlist != index.nlist or lists.code_size not in sizes:
        yield f"is damaged: {index.nlist} lists of {index.code_size} bytes, and {lists.nlist} of {lists.code_size}"
    elif name == "OnDiskInvertedLists" and mapped and not lists.filename:  # mapped from this file
        size, entry = path.stat().st_size, lists.code_size + 8
        for number in range(lists.nlist):
            one = lists.lists.at(number)
            if one.size > one.capacity or (one.size and one.offset + one.capacity * entry > size):
                yield f"is damaged: list {number} lies outside the file"
    elif name == "OnDiskInvertedLists":
        yield f"names another file, {Path(lists.filename).name[:100]!r}, which aekit does not open"
    elif name not in LISTS:
        yield f"holds inverted lists of type {name}, which aekit does not open"
    else:
        for number in range(lists.nlist):
            rows = faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number))
            if len(rows) and not 0 <= rows.min() <= rows.max() < index.ntotal:
                yield f"is damaged: list {number} holds rows {rows.min()} to {rows.max()} of {index.ntotal}"
