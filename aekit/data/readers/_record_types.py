"""Tell what columns of records hold, by their types and by what Hugging Face's `datasets` writes next to them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa


def class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the names of classes 0, 1, ..., by column."""
    return {
        name: tuple(feature.get("names") or ())
        for name, feature in huggingface_features(schema).items()
        if feature.get("_type") == "ClassLabel" and name in schema.names
    }


def huggingface_features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Return the features that Hugging Face's `datasets` keeps in the metadata, by column."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    features = features if isinstance(features, dict) else {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_list(kind: pa.DataType) -> bool:
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def innermost(kind: pa.DataType) -> pa.DataType:
    while is_list(kind):
        kind = (kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind).value_type
    return kind


def is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
