"""`aekit search`: find the nearest neighbors of files, arrays or ids."""

from __future__ import annotations

from typing import Any

import click

import aekit
from aekit.cli._torch_libraries import load_torch_libraries
from aekit.cli.options import device_option, examples, json_option, print_json, quiet_option, set_option, source_options
from aekit.errors import DataError
from aekit.io.atomic import refuse_inputs, write_text
from aekit.io.remote import output_file
from aekit.io.text_table import format_cell
from aekit.progress import Progress, warn


@click.command(
    epilog=examples(
        "search index new.jpg -k 5 --html neighbors.html", "search index id:cat/0001.jpg --where 'split = \"test\"'"
    )
)
@click.argument("index")
@click.argument("query", nargs=-1, required=True)
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Neighbors per query.")
@click.option(
    "--encoder",
    metavar="ENCODER",
    help="Encoder to use instead of the copy in the index; must be the one that made the index.",
)
@click.option(
    "--where", metavar="CONDITION", help='Condition on the neighbors, such as \'label = "cat" and split != "test"\'.'
)
@device_option
@json_option("the neighbors")
@click.option("--html", type=click.Path(dir_okay=False), help="Write an HTML page with images of the neighbors.")
@set_option("data.images.resize=pad")
@quiet_option
def search(
    index: str,
    query: tuple[str, ...],
    k: int,
    encoder: str | None,
    where: str | None,
    device: str,
    as_json: bool,
    html: str | None,
    overrides: dict[str, Any],
    progress: Progress,
) -> None:
    """Find the nearest neighbors of each QUERY in INDEX.

    QUERY is a file such as an image, a folder, an array file, or id:NAME for a sample in the index. An index of precomputed
    vectors is searched with vectors. Queries that cannot be read are skipped and listed.

    A --where condition compares id, label, split and the metadata that `aekit embed` kept, such as a price or a date, by
    =, !=, <, <=, >, >=, in ("a", "b"), like "2024/%" or is null. Combine conditions with and, or, not and parentheses. Write
    text and dates in quotes, numbers without.
    """
    by_id = all(text.startswith("id:") for text in query)
    if overrides and by_id and not html:
        problem = "--set changes how queries and images are read, but id:NAME is in the index; leave it out"
        raise click.UsageError(f"{problem}, or add --html")
    if encoder or not by_id:
        load_torch_libraries()
    opened = aekit.open_index(index)
    compared = [] if where is None else opened.compared_columns(where)  # refused before the encoder is loaded
    loaded = aekit.load(encoder, device=device) if encoder else None
    if html:
        refuse_inputs(html, *query)
    hits: list[dict[str, Any]] = []
    refused: list[DataError] = []
    for text in query:
        try:
            if text.startswith("id:"):
                names = [text.removeprefix("id:")]
                scores, rows = opened.search_ids(names, k, where=where)
            else:
                if loaded is None and (stored := opened.encoder()) is not None:
                    loaded = stored.to(device)
                names, scores, rows = opened.search_data(
                    text, k, encoder=loaded, options=source_options(overrides), where=where
                )
        except DataError as error:
            refused.append(error)
            continue
        hits += opened.hits([text] if len(names) == 1 else names, scores, rows)
    if len(refused) == len(query):
        raise refused[0]
    for refusal in refused:
        warn(f"query {refusal}; skipped")
    if html:
        from aekit.report.search_page import search_page

        with output_file(html) as path:
            write_text(path, search_page(opened, hits, options=source_options(overrides)))
        progress.say(f"images of the neighbors in {html}")
    if as_json:
        print_json(hits)
    elif hits:
        click.echo(_as_table(hits, [name for name in compared if name not in ("id", "label", "split")]))


def _as_table(hits: list[dict[str, Any]], columns: list[str]) -> str:
    """Format the neighbors of each query, with their label and the values of some further columns."""
    lines, query = [], None
    width = max((len(format_cell(hit["id"])) for hit in hits), default=0)
    for hit in hits:
        if hit["query"] != query:
            query = hit["query"]
            lines.append(format_cell(query))
        label = f"  {format_cell(str(hit['label']))}" if hit.get("label") is not None else ""
        values = "".join(f"  {name} = {format_cell(hit[name])}" for name in columns)
        lines.append(f"{hit['rank']:4}  {hit['score']:8.4f}  {format_cell(hit['id']):{width}}{label}{values}".rstrip())
    return "\n".join(lines)
