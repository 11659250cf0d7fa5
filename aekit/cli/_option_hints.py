"""Say which setting does what people expect of an option that a command does not have."""

from __future__ import annotations

import click

_TRAINING = {
    "train.lr": ("lr", "learning-rate"),
    "train.batch_size": ("batch-size", "batch", "bs"),
    "train.optimizer": ("optimizer", "optim"),
    "train.weight_decay": ("weight-decay", "wd"),
    "train.precision": ("precision", "amp", "fp16", "bf16", "dtype"),
    "train.schedule": ("schedule", "scheduler"),
    "train.warmup": ("warmup",),
    "train.clip": ("clip", "gradient-clip", "clip-grad"),
    "train.compile": ("compile",),
    "objective.loss": ("loss",),
    "encoder.weights": ("weights", "pretrained-weights", "checkpoint"),
    "data.split": ("split",),
}
"""Setting of a recipe -> names of options, without dashes."""
_DATA = {
    "data.images.size": ("size", "image-size", "img-size", "imgsz", "resolution"),
    "data.arrays.y": ("y", "label", "labels", "label-column", "target", "target-column"),
    "data.arrays.x": ("x", "columns", "features", "feature-columns"),
    "data.arrays.delimiter": ("sep", "separator", "delimiter"),
    "data.arrays.decimal": ("decimal",),
    "data.arrays.encoding": ("encoding",),
    "data.arrays.header": ("header",),
    "data.arrays.sheet": ("sheet", "sheet-name"),
}
"""Setting of a source -> names of options."""
_TRAIN, _READ = (
    ("fit", "bench", "tune"),
    ("data", "embed", "anomalies", "apply", "classify", "duplicates", "search", "export"),
)
"""Commands that take settings of both kinds, and of sources alone."""


def missing_option(error: click.NoSuchOption) -> str:
    """Return what to say of an option that a command lacks: the setting that is meant, or what click says."""
    command = "" if error.ctx is None else error.ctx.info_name
    known = {**_TRAINING, **_DATA} if command in _TRAIN else _DATA if command in _READ else {}
    name = error.option_name.lstrip("-").replace("_", "-").lower()
    setting = next((setting for setting, names in known.items() if name in names), "")
    if not setting:
        return error.format_message()
    return f"no option {error.option_name}, but a setting: --set {setting}=VALUE"
