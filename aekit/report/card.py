"""The model card: README.md of an encoder folder."""

from __future__ import annotations

from typing import Any


def model_card(description: dict[str, Any]) -> str:
    """Markdown from what ``encoder.json`` holds."""
    spec, architecture = description["spec"], description["architecture"]
    shape = " x ".join(map(str, spec["shape"]))
    head = architecture["head"]
    lines = [
        f"# Encoder {description['digest'][:12]}",
        "",
        f"Made by aekit {description['aekit']}. Maps {spec['kind']} samples, {shape} {spec['dtype']} (channels first), "
        f"to embeddings of {architecture['dim']} numbers{' of length 1' if architecture['normalize'] else ''}.",
        "",
        "| | |",
        "|---|---|",
        f"| digest | `{description['digest']}` |",
        f"| backbone | {architecture['backbone']['name']} {_options(architecture['backbone']['options'])} |",
        f"| head | {head['variant'] + ' ' + _options(head['options']) if head else 'linear'} |",
        f"| scaling | {description['preprocess']['mode']}, inside the encoder |",
    ]
    if spec["resize"]:
        what, sides = ("series", 1) if spec["kind"] == "series" else ("pictures", 2)
        lines.append(f"| {what} of another size | {spec['resize']} to {' x '.join(map(str, spec['shape'][-sides:]))} |")
    if objective := description.get("objective"):
        parts = [*objective.get("variants", []), *objective.get("pretexts", [])] or ["plain autoencoder"]
        lines.append(f"| trained by | {', '.join(parts)} |")
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
    return "\n".join(lines)


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items() if value is not None)
