"""Evaluate an encoder as a recipe says, and check before training that this is possible."""

from __future__ import annotations

import numpy as np

from aekit.data.source import Source
from aekit.encoder.encoder import Encoder
from aekit.encoder.pretrained import AUTO, NONE, open_pretrained
from aekit.evaluation.evaluation import Evaluation
from aekit.objectives.autoencoder import Autoencoder
from aekit.progress import SILENT, Progress
from aekit.training.recipe import Recipe


def check_evaluation(source: Source, recipe: Recipe, encoder: Encoder) -> None:
    """Check before training that the evaluation afterwards is possible.

    Raises:
        DataError, RecipeError: it is not.
    """
    section = recipe.evaluate
    if section.evaluators and section.baselines and section.pretrained not in (AUTO, NONE):
        open_pretrained(section.pretrained, encoder.spec, encoder.preprocess, place="evaluate.pretrained")
    if section.evaluators:
        from aekit.evaluation.id_groups import groups_from_ids
        from aekit.evaluation.labels import make_targets
        from aekit.evaluation.run import split_for_targets

        labels, _ = make_targets(source.labels, len(source), what="samples", target_type=section.target_type)
        groups = groups_from_ids(source.ids, section.groups) if section.groups else None
        split_for_targets(labels, source.splits, len(source), seed=recipe.train.seed, groups=groups)


def evaluate_encoder(
    encoder: Encoder,
    autoencoder: Autoencoder | None,
    source: Source,
    recipe: Recipe,
    *,
    progress: Progress = SILENT,
) -> tuple[Evaluation, np.ndarray | None]:
    """Run the evaluators that a recipe names.

    Returns:
        the evaluation, and the (N,) positions of the embeddings in the source, or None if unknown.
    """
    from aekit.evaluation.id_groups import groups_from_ids
    from aekit.evaluation.run import evaluate

    section = recipe.evaluate
    embeddings = encoder.embed(source, metadata="none", precision="fp32", progress=progress)
    evaluation = evaluate(
        embeddings,
        evaluators=section.evaluators,
        baselines=section.baselines,
        pretrained=section.pretrained,
        quick=False,
        groups=groups_from_ids(embeddings.ids, section.groups) if section.groups else None,
        target_type=section.target_type,
        run=autoencoder,
        options=dict(recipe.options.get("evaluate", {})),
        seed=recipe.train.seed,
        progress=progress,
    )
    origin = embeddings.source()
    return evaluation, origin[1] if origin else None
