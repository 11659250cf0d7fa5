"""Fine-tune in several processes of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from aekit.encoder.encoder import Encoder
from aekit.io.manifests import read_manifest
from aekit.progress import Progress
from aekit.registry.overrides import flatten_settings, without_none
from aekit.workflows._processes import train_in_processes
from aekit.workflows.finetuning.classifier import FinetuneResult, FinetuneResults, load_classifier


def finetune_in_processes(
    processes: int,
    encoder: Encoder | str | Path,
    data: Any,
    labels: Any,
    choices: Mapping[str, Any],
    settings: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
    out: str | Path | None,
    *,
    resume: bool,
    progress: Progress,
) -> FinetuneResult:
    """Fine-tune in several processes, and load the result; arguments as of `aekit.finetune`, errors of `train_in_processes` too.

    Args:
        choices: the arguments `layers`, `per_class`, `patience` and `baselines`.
    """

    def command(place: Path) -> list[str]:
        path = encoder if isinstance(encoder, (str, Path)) else encoder.save(place / "encoder")
        words = ["finetune", str(path), str(data), "--patience", str(choices["patience"])]
        words += ["--baselines" if choices["baselines"] else "--no-baselines"]
        for name in ("layers", "per_class"):
            if choices[name] is not None:
                words += [f"--{name.replace('_', '-')}", str(choices[name])]
        for name, value in flatten_settings(without_none({"train": settings, "data": options})).items():
            words += ["--set", f"{name}={_toml(value)}"]
        return words

    problems = {"needs labels of the data, as its options name them, not of this session": labels is not None}
    train_in_processes(processes, command, data=data, out=out, problems=problems, resume=resume, progress=progress)
    return FinetuneResult.from_results(
        load_classifier(str(out)), read_manifest(Path(str(out)) / "results.json", FinetuneResults)
    )


def _toml(value: Any) -> str:
    """Return a value as TOML; a path is a string in it."""
    value = str(value) if isinstance(value, Path) else value
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip()
