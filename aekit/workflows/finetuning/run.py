"""Fine-tune a trained encoder on labels, and compare it with baselines to see whether its pretraining helped.

The baselines are the same network trained from random weights, and logistic regression on the frozen encoder; all three use the
same labels, the same validation samples and the same test samples.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from aekit._arguments import checked_arguments
from aekit.data.opening import open_data
from aekit.data.readers.folders import warn_if_inside
from aekit.encoder.encoder import Encoder
from aekit.encoder.loading import open_encoder
from aekit.io.atomic import explain_write_errors, folder_lock
from aekit.io.manifests import read_manifest
from aekit.io.processes import decide, joined
from aekit.io.torchrun import is_restarted, is_silent
from aekit.progress import SILENT
from aekit.progress_display import ProgressOption, open_progress
from aekit.workflows.finetuning._inputs import check_options, is_finished, labels_and_split
from aekit.workflows.finetuning._processes import finetune_in_processes
from aekit.workflows.finetuning._steps import Finetuning
from aekit.workflows.finetuning.classifier import FinetuneResult, FinetuneResults, load_classifier


@checked_arguments
def finetune(
    encoder: Encoder | str | Path,
    data: Any,
    labels: Any = None,
    *,
    layers: int | None = None,
    per_class: int | None = None,
    patience: int = 20,
    baselines: bool = True,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    processes: int = 1,
    progress: ProgressOption = None,
    **settings: Any,
) -> FinetuneResult:
    """Train a linear classifier on an encoder, together with the encoder or its top layers.

    The classifier starts from logistic regression on the frozen encoder, so that fine-tuning distorts the code less (Kumar et
    al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022). The best epoch, or the frozen
    encoder with logistic regression, is selected by the accuracy, then the cross-entropy on the validation samples. The test
    samples are read once, at the end.

    Args:
        encoder: an encoder, or the path of an encoder, a run, embeddings or an index; it is copied, not changed.
        data: data as `aekit.open_data` takes it. Its splits are used; missing ones are drawn.
        labels: (N,) classes of the samples, or as `aekit.evaluate` takes them; default: the labels of the data. None, NaN and
            "" mean no label.
        layers: number of layers to train, from the top: the head and the stages of the backbone; 0: only the classifier;
            None: the whole network.
        per_class: number of labels to use of each class, including validation; None: all of the training split.
        patience: epochs without improvement after which training stops; 0: never.
        baselines: whether to train the same network from random weights too, and to evaluate the frozen encoder.
        options: options of the source, by source name.
        out: folder to write, which makes it resumable; without it nothing is written.
        resume: resume interrupted fine-tuning in `out`.
        processes: number of processes to train in, as in `aekit.fit`; they need `out`, and labels that the data has.
        progress: shows choices with their reasons, and bars, as in `aekit.fit`.
        settings: settings of a recipe's ``[train]``: ``epochs``, ``lr``, ``layer_decay``, ``batch_size``, ``weight_decay``,
            ``seed`` ... Defaults: lr 1e-3, a batch size of a tenth of the samples within 16 to 128, and epochs for about 3000
            steps, at most 100.

    Raises:
        DataError: no labels, a single class, fewer labels than `per_class`, or data that the encoder does not take.
        RecipeError: unknown settings, or more layers than the encoder has.
        OutputError: `out` is not empty.
        TrainingError: the loss stopped being finite, or `out` holds the checkpoint of other settings.
        Interrupted: Ctrl-C; the state is saved if there is a folder.

    Examples:
        >>> encoder = aekit.fit("sklearn:iris", dim=2, epochs=1)
        >>> result = aekit.finetune(encoder, "sklearn:iris", epochs=2)
        >>> list(result.accuracy)
        ['finetuned', 'random', 'frozen']
    """
    progress = open_progress(progress)
    choices = {"layers": layers, "per_class": per_class, "patience": patience, "baselines": baselines}
    if processes != 1:
        return finetune_in_processes(
            processes, encoder, data, labels, choices, settings, options or {}, out, resume=resume, progress=progress
        )
    folder = None if out is None else Path(out)
    with ExitStack() as stack:
        ranks = stack.enter_context(joined({"out": "none" if out is None else "a folder", **choices}))
        progress = SILENT if is_silent() else progress
        resume = decide(ranks, lambda: resume or (is_restarted() and folder is not None and folder.exists()))
        finished = folder is not None and decide(ranks, lambda: is_finished(folder, resume))
        encoder = open_encoder(encoder)
        check_options(len(encoder.layers), layers, per_class, patience, settings)
        source = open_data(data, dict(options or {}), like=encoder.spec)
        warn_if_inside(folder, data)
        y_true, split = labels_and_split(source, labels, per_class, settings.get("seed", 0))
        work = Finetuning(encoder, source, y_true, split, choices, settings, folder, progress, ranks)
        if folder and finished:
            results = read_manifest(folder / "results.json", FinetuneResults)
            work.check_unchanged(folder / "results.json", results["resumed_as"], settings)
            if work.writes:  # left by a process that was killed at its very end
                shutil.rmtree(folder / "checkpoint", ignore_errors=True)
            progress.say(f"{folder} is already finished; nothing to resume")
            return FinetuneResult.from_results(load_classifier(folder), results)
        if folder:
            decide(ranks, lambda: stack.enter_context(folder_lock(folder)))
            stack.enter_context(explain_write_errors(folder))
        return work.go(resume)
