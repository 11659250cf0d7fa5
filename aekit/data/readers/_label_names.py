"""Know the names that people give to columns of labels."""

from __future__ import annotations

import re

import numpy as np

LABEL_COLUMNS = (
    *("class", "label", "target", "y", "labels"),
    *("class_label", "class_name", "class_id", "label_name", "label_id", "target_class", "y_true", "ground_truth"),
)
"""Names of a column of labels, in order of precedence. Columns of these names are never features."""

_LIKELY = re.compile(
    r"(?:is|has)[_ ]?(?!train|test|valid)\w+|"
    r"\w*(?:outcome|diagnosis|species|variety|churn|churned|attrition|survived|fraud|default|exited|cluster"
    r"|category|quality|grade|disease|malignant|severity|anomaly|failure|fault|defect|sentiment|emotion|activity|digit|attack)"
    r"|cls|klasse|classe|clase|choice|gt|result|response|output|income|status|condition|event|annotation|breed|genre|split_?label"
)


_LOOKED_AT = 200_000
"""Labels that are compared, of many."""


def similar_classes(labels: np.ndarray) -> list[str]:
    """Return a line on the first classes among (N,) labels that differ by blanks or capitals alone."""
    first: dict[str, str] = {}
    for name in sorted(set(labels[:_LOOKED_AT].tolist())) if labels.dtype.kind == "U" else ():
        other = first.setdefault("".join(name.split()).casefold(), name)
        if other != name:
            return [f"classes {other!r} and {name!r} differ by blanks or capitals alone, and are two classes"]
    return []


def is_likely_label(name: str) -> bool:
    """Return whether a column of this name may well hold labels, such as ``Outcome`` or ``is_fraud``."""
    return bool(_LIKELY.fullmatch(name.strip().lower()))
