"""Write the model card, the README.md of an encoder folder."""

from __future__ import annotations

from typing import Any

from aekit.data.spec import SampleSpec
from aekit.errors import terminal_text

_SIGNS = {"good": "✓", "notice": "!", "bad": "✕"}
_KINDS = {"image": "Images", "vector": "Rows of a table", "series": "Series", "clip": "Clips"}


def model_card(description: dict[str, Any]) -> str:
    """Return the model card in Markdown, from the content of ``encoder.json`` and, if known, of the evaluation."""
    spec, architecture = description["spec"], description["architecture"]
    shape = " x ".join(map(str, spec["shape"]))
    head = architecture["head"]
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
        f"Made by aekit {description['aekit']}. Maps {spec['kind']} samples, {shape} {spec['dtype']} (channels first), "
        f"to embeddings of {architecture['dim']} dimensions{', normalized to length 1' if architecture['normalize'] else ''}.",
        "",
        "| | |",
        "|---|---|",
        f"| digest | `{description['digest']}` |",
        f"| backbone | {architecture['backbone']['name']} {_options(architecture['backbone']['options'])} |",
        f"| head | {head['variant'] + ' ' + _options(head['options']) if head else 'linear'} |",
        f"| scaling | {description['preprocess']['mode']}, inside the encoder |",
    ]
    if names := SampleSpec.from_dict(spec).names:
        listed = ", ".join(names).replace("|", "\\|")
        lines.append(f"| {'entries' if spec['kind'] == 'vector' else 'channels'}, in this order | {listed} |")
    if spec["resize"]:
        what, sides = ("series", 1) if spec["kind"] == "series" else ("images", 2)
        lines.append(f"| {what} of another size | {spec['resize']} to {' x '.join(map(str, spec['shape'][-sides:]))} |")
    if weights := description.get("weights"):
        lines.append(f"| initial weights | {_options(weights)} |")
    if updates := description.get("low_rank"):
        lines.append(f"| low-rank updates | rank {updates['rank']}, of {updates['layers']} linear layers |")
    if teacher := description.get("teacher"):
        lines.append(f"| teacher | {teacher['network']}, digest `{teacher['digest']}` |")
    if objective := description.get("objective"):
        lines.append(f"| trained by | {', '.join(describe_objective(objective))} |")
    if trained := description.get("trained"):
        lines.append(f"| trained on | {trained['samples']} samples of {description['data']['data']} |")
        lines.append(f"| training took | {trained['seconds']:g} s |")
    if tuned := description.get("finetuned"):
        lines.append(f"| fine-tuned with | {tuned['labels']} labels of {tuned['data']} |")
    lines += [f"| {name.replace('_', ' ')} | {value:g} |" for name, value in description.get("metrics", {}).items()]
    lines += [
        f"| plugin | {p['kind']} {p['name']} of {p['distribution']} {p['version']} |" for p in description["plugins"]
    ]
    lines += [
        "",
        "```python",
        "import aekit",
        'encoder = aekit.load("this/folder")',
        'encoder.embed("photos/")',
        "```",
        "",
    ]
    lines += _evaluation_table(description.get("evaluation"))
    summary = (description.get("evaluation") or {}).get("summary", [])
    findings = [(grade, text) for grade, text in description.get("findings", []) if text.rstrip(".") not in summary]
    if findings:
        lines += ["## Findings", "", *(f"- {_SIGNS[grade]} {text}" for grade, text in findings), ""]
    lines += [
        "## Intended use",
        "",
        f"{_KINDS[spec['kind']]} like those of the training data: similarity search, clustering, anomaly detection, and "
        "classification with few labels. Compare embeddings only with those of the same encoder, which has the same digest. It "
        "was not evaluated on other kinds of data, nor for bias against groups of people: its similarities reflect the "
        "training data.",
        "",
    ]
    if exports := description.get("exports"):
        lines += [
            "## Exports",
            "",
            "| file | format | checked on | largest difference | tolerance |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {e['file']} | {e['format']} | {e['samples']} samples | {e['difference']:.2g} | {e['tolerance']:.2g} |"
            for e in exports
        ]
        lines.append("")
    return "\n".join(terminal_text(line, keep="") for line in lines)  # names from data break no line of the table


def describe_objective(objective: dict[str, Any]) -> list[str]:
    """Describe what an encoder was trained by, from the objective section of its recipe."""
    variants = ["plain autoencoder" if name == "plain" else name for name in objective.get("variants", [])]
    return [*variants, *objective.get("pretexts", [])] or ["plain autoencoder"]


def _evaluation_table(evaluation: dict[str, Any] | None) -> list[str]:
    """Return the lines of the evaluation: its table with baselines, and its summary."""
    if not evaluation:
        return []
    rows: dict[str, dict[str, str]] = evaluation["table"]
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [
        "## Evaluation",
        "",
        evaluation["headline"],
        "",
        f"| | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    lines += [
        f"| {subject} | {' | '.join(row.get(column, '') for column in columns)} |" for subject, row in rows.items()
    ]
    return [*lines, "", f"Split: {evaluation['split']}.", "", *(f"- {line}" for line in evaluation["summary"]), ""]


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items() if value is not None)
