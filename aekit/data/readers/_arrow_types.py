"""Replace types of Arrow that its functions lack, as polars and other programs write them, by usual ones."""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc


def with_usual_types(table: pa.Table) -> pa.Table:
    """Return a table whose text, bytes that are text, categories and runs of equal values have types of every function.

    Fields of structs become columns ``struct.field``, as the keys of nested JSON do.
    """
    while any(pa.types.is_struct(field.type) and field.type.num_fields for field in table.schema):
        flat = table.flatten()
        if len(set(flat.column_names)) < len(flat.column_names):
            break
        table = flat.replace_schema_metadata(table.schema.metadata)
    for place, field in enumerate(table.schema):
        column = _usual(table.column(place))
        if column.type != field.type:
            table = table.set_column(place, pa.field(field.name, column.type, metadata=field.metadata), column)
    return table


def _usual(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        return _usual(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type))
    if pa.types.is_dictionary(kind):
        values = _usual(pa.chunked_array([], kind.value_type)).type
        if values == kind.value_type:
            return column
        chunks = [
            pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(values), ordered=kind.ordered)
            for chunk in column.chunks
        ]
        return pa.chunked_array(chunks, pa.dictionary(kind.index_type, values, kind.ordered))
    if pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if any(is_kind(kind) for is_kind in _BYTES):
        with suppress(pa.ArrowInvalid):  # other bytes than text stay as they are
            return column.cast(pa.binary()).cast(pa.string())
    return column


_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
