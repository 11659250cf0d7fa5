"""Write the model card, the README.md of an encoder folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aekit.data.spec import SampleSpec
from aekit.errors import terminal_text

_SIGNS = {"good": "✓", "notice": "!", "bad": "✕"}
_KINDS = {"image": "Images", "vector": "Rows of a table", "series": "Series", "clip": "Clips"}


def model_card(description: dict[str, Any]) -> str:
    """Return the model card in Markdown, from the content of ``encoder.json`` and, if known, of the evaluation."""
    spec, architecture = description["spec"], description["architecture"]
    normalized = ", normalized to length 1" if architecture["normalize"] else ""
    lines = [
        "---",
        "library_name: aekit",
        "tags:",
        *(f"- {tag}" for tag in ("embeddings", "self-supervised-learning", spec["kind"])),
        f"pipeline_tag: {'image-feature-extraction' if spec['kind'] == 'image' else 'feature-extraction'}",
        "---",
        "",
        f"# Encoder {description['digest'][:12]}",
        "",
        f"Made by aekit {description['aekit']}. Maps {spec['kind']} samples, {_sides(spec['shape'])} {spec['dtype']} "
        f"(channels first), to embeddings of {architecture['dim']} dimensions{normalized}.",
        "",
        *_table(["", ""], _facts(description)),
        "```python",
        "import aekit",
        'encoder = aekit.load("this/folder")',
        'encoder.embed("photos/")',
        "```",
        "",
        *_evaluation_section(description.get("evaluation")),
        *_findings_section(description),
        "## Intended use",
        "",
        f"{_KINDS[spec['kind']]} like those of the training data: similarity search, clustering, anomaly detection, and "
        "classification with few labels. Compare embeddings only with those of the same encoder, which has the same digest. It "
        "was not evaluated on other kinds of data, nor for bias against groups of people: its similarities reflect the "
        "training data.",
        "",
        *_exports_section(description.get("exports")),
    ]
    return "\n".join(terminal_text(line, keep="") for line in lines)  # names from data break no line of the table


def _facts(description: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each fact about an encoder."""
    spec, architecture = description["spec"], description["architecture"]
    backbone, head = architecture["backbone"], architecture["head"]
    yield "digest", f"`{description['digest']}`"
    yield "backbone", f"{backbone['name']} {_options(backbone['options'])}"
    yield "head", f"{head['variant']} {_options(head['options'])}" if head else "linear"
    yield "scaling", f"{description['preprocess']['mode']}, inside the encoder"
    if names := SampleSpec.from_dict(spec).names:
        listed = ", ".join(names).replace("|", "\\|")
        yield f"{'entries' if spec['kind'] == 'vector' else 'channels'}, in this order", listed
    if spec["resize"]:
        resized, axes = ("series", 1) if spec["kind"] == "series" else ("images", 2)
        yield f"{resized} of another size", f"{spec['resize']} to {_sides(spec['shape'][-axes:])}"
    if weights := description.get("weights"):
        yield "initial weights", _options(weights)
    if updates := description.get("low_rank"):
        yield "low-rank updates", f"rank {updates['rank']}, of {updates['layers']} linear layers"
    if teacher := description.get("teacher"):
        yield "teacher", f"{teacher['network']}, digest `{teacher['digest']}`"
    if objective := description.get("objective"):
        yield "trained by", ", ".join(describe_objective(objective))
    if trained := description.get("trained"):
        yield "trained on", f"{trained['samples']} samples of {description['data']['data']}"
        yield "training took", f"{trained['seconds']:g} s"
    if tuned := description.get("finetuned"):
        yield "fine-tuned with", f"{tuned['labels']} labels of {tuned['data']}"
    for name, value in description.get("metrics", {}).items():
        yield name.replace("_", " "), f"{value:g}"
    for plugin in description["plugins"]:
        yield "plugin", f"{plugin['kind']} {plugin['name']} of {plugin['distribution']} {plugin['version']}"


def describe_objective(objective: dict[str, Any]) -> list[str]:
    """Describe what an encoder was trained by, from the objective section of its recipe."""
    variants = ["plain autoencoder" if name == "plain" else name for name in objective.get("variants", [])]
    return [*variants, *objective.get("pretexts", [])] or ["plain autoencoder"]


def _evaluation_section(evaluation: dict[str, Any] | None) -> list[str]:
    """Return the lines of the evaluation: its table with baselines, and its summary."""
    if not evaluation:
        return []
    rows: dict[str, dict[str, str]] = evaluation["table"]
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    values = [(subject, *(row.get(column, "") for column in columns)) for subject, row in rows.items()]
    summary = [f"- {line}" for line in evaluation["summary"]]
    lines = ["## Evaluation", "", evaluation["headline"], "", *_table(["", *columns], values)]
    return [*lines, f"Split: {evaluation['split']}.", "", *summary, ""]


def _findings_section(description: dict[str, Any]) -> list[str]:
    """Return the lines of the findings that the summary of the evaluation does not say already."""
    summary = (description.get("evaluation") or {}).get("summary", [])
    findings = [
        f"- {_SIGNS[severity]} {text}"
        for severity, text in description.get("findings", [])
        if text.rstrip(".") not in summary
    ]
    return ["## Findings", "", *findings, ""] if findings else []


def _exports_section(exports: list[dict[str, Any]] | None) -> list[str]:
    if not exports:
        return []
    rows = [
        (e["file"], e["format"], f"{e['samples']} samples", f"{e['difference']:.2g}", f"{e['tolerance']:.2g}")
        for e in exports
    ]
    return ["## Exports", "", *_table(["file", "format", "checked on", "largest difference", "tolerance"], rows)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, and an empty one."""
    head = "".join(f" {column} |" if column else " |" for column in columns)
    return [f"|{head}", "|---" * len(columns) + "|", *(f"| {' | '.join(row)} |" for row in rows), ""]


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items() if value is not None)
