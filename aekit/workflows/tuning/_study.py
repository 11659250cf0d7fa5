"""Keep the candidates of a search in Optuna's journal: what was tried, what was measured, and what comes next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from aekit.errors import AekitError, DamagedError, OutputError, first_line, importing
from aekit.io.manifests import check_entries
from aekit.training.batches import derive_seed
from aekit.workflows.tuning._budget import RUNGS
from aekit.workflows.tuning._models import TrialRecord
from aekit.workflows.tuning._space import BACKBONE, Space

JOURNAL = "journal.log"
STARTUP = 8
"""Candidates before the sampler models what was good."""
ATTEMPTS = 20
"""Attempts to vary a candidate in a way that is new."""
KEEP = 3
"""One of this many candidates goes on at each rung."""
STEPS = tuple(round(KEEP ** (len(RUNGS) - 1) * fraction) for fraction in RUNGS)
"""Steps by which Optuna knows the rungs."""


class Study:
    """The candidates of a search, which a killed process leaves as they were after their last rung.

    Args:
        folder: folder of the search.
        space: the candidates.
        seed: seed of the sampler; what comes next depends on it and on what was tried alone.

    Raises:
        AekitError: Optuna is not installed.
        OutputError: the journal is damaged.
    """

    def __init__(self, folder: Path, space: Space, seed: int) -> None:
        self.optuna = load_optuna()
        self.space, self.seed = space, seed
        path = folder / JOURNAL
        _drop_torn_line(path)
        journal = self.optuna.storages.journal
        try:
            storage = self.optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), _Unlocked()))
            # aekit decides by rungs that grow by a factor of KEEP.
            pruner = self.optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=KEEP)
            self.study = self.optuna.create_study(
                storage=storage, study_name="tune", direction="maximize", load_if_exists=True, pruner=pruner
            )
            for trial in self.trials():
                record = {"attributes": trial.user_attrs, "scores": trial.intermediate_values}
                check_entries(path, record, TrialRecord)
        except DamagedError as error:
            raise OutputError(f"{error}; choose another folder as out (-o)") from None
        except Exception as error:  # Optuna checks little of a journal before it uses it
            raise OutputError(f"{path}: is damaged: {first_line(error)}; choose another folder as out (-o)") from error

    def trials(self) -> list[Any]:
        """Return all candidates, as `optuna.trial.FrozenTrial`, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def next(self) -> Any:
        """Return the candidate to work on, an `optuna.trial.Trial`: the one that was interrupted, or a new one."""
        trials = self.trials()
        running = self.optuna.trial.TrialState.RUNNING
        for frozen in trials:
            if frozen.state == running:
                return self.optuna.trial.Trial(self.study, frozen._trial_id)
        number = sum(trial.state.is_finished() for trial in trials)
        seed = derive_seed(self.seed, number) % 2**32
        self.study.sampler = self.optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        parameters = self.space.first(number)
        if parameters is None and self.space.varies(number):
            parameters = self._near_best(trials, np.random.default_rng(seed))
        if parameters is not None and not any(not trial.state.is_finished() for trial in trials):
            self.study.enqueue_trial(parameters)
        return self.study.ask()

    def _near_best(self, trials: list[Any], generator: np.random.Generator) -> dict[str, Any] | None:
        """Return the parameters of the best candidate with some of them changed, as no candidate had them; None if there is none.

        With so few candidates, this finds better ones sooner than a model of all parameters.
        """
        best = best_trial([trial for trial in trials if BACKBONE in trial.params])
        known = [trial.params for trial in trials]
        if best is None:
            return None
        for _ in range(ATTEMPTS):
            varied = self.space.varied(best.params, generator)
            if varied not in known:
                return varied
        return None

    def same_as(self, trial: Any) -> int | None:
        """Return the number of an earlier candidate with the same parameters as an `optuna.trial.Trial`, or None."""
        return next((t.number for t in self.trials() if t.number < trial.number and t.params == trial.params), None)

    def finish(self, trial: Any, outcome: str, value: float | None = None, reason: str = "") -> None:
        """Record the end of a candidate: ``complete``, ``pruned`` or ``fail``.

        Args:
            trial: the candidate.
            outcome: how it ended.
            value: its last score.
            reason: why it failed or was stopped.
        """
        if reason:
            trial.set_user_attr("reason", reason)
        state = self.optuna.trial.TrialState[outcome.upper()]
        self.study.tell(trial, value if outcome == "complete" else None, state=state)


def last_rung(trial: Any) -> tuple[int, float] | None:
    """Return the last rung of a candidate, from 0, and its score there; None before the first."""
    values = trial.intermediate_values
    reached = [number for number, step in enumerate(STEPS) if step in values]
    return (reached[-1], values[STEPS[reached[-1]]]) if reached else None


def best_trial(trials: list[Any]) -> Any | None:
    """Return the candidate with the best score at its last rung; of equal ones that with the higher rung, then the first.

    One that was stopped early counts with the score that it had: trained to the end it is rarely worse.
    """
    scored = [(trial, last_rung(trial)) for trial in trials]
    ranked = [(rung[1], rung[0], -trial.number, trial) for trial, rung in scored if rung and np.isfinite(rung[1])]
    return max(ranked, key=lambda entry: entry[:3])[3] if ranked else None


def settings_of(trial: Any) -> dict[str, Any]:
    """Return the settings of a candidate by dotted name."""
    return json.loads(trial.user_attrs["settings"])


def load_optuna() -> Any:
    """Return the package.

    Raises:
        AekitError: it is not installed.
    """
    with importing("aekit tune needs the packages of the extra 'tune'", "pip install 'aekit[tune]'", AekitError):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _drop_torn_line(path: Path) -> None:
    """Remove the end of a journal whose last line a killed process did not finish."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            path.write_bytes(content[: content.rfind(b"\n") + 1])


class _Unlocked:
    """A lock that does nothing: the folder is locked, and the lock of a killed process would stand for half a minute."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
