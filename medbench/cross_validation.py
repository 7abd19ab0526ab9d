"""k-fold cross-validation of a run: every train and validation row answered by a fit that had not seen it.

Folds are stratified by label and keep groups (patients, lesions, duplicate clusters) together. The test split has no
part in it. Each fold is judged just as a run judges its test split: what is tuned there (calibration, thresholds, the
moment to stop) rests on the other folds alone. Finished folds are kept, so that a run that was killed goes on:

    folds/fold-<n>.npz      rows, probabilities, decided, majority, seconds, options
    folds/checkpoints-<n>/  of the fold in hand
"""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import fold_figures, judging, metrics, splits
from medbench.datasets import Dataset
from medbench.errors import Stopped
from medbench.events import Say
from medbench.families import Family, FamilyOptions, Fitting, check_folding
from medbench.hierarchy import Hierarchy
from medbench.records import Examples, Metric, RunSpec, Scores, Truth
from medbench.workspace import replacing

FOLDER = "folds"
_RESAMPLES = 1000
_RANKED = ("auc", "auc_micro", "average_precision")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """What one fold came to.

    Attributes:
        rows: (n,) its positions among the train and validation rows.
        probabilities: (n, L) calibrated.
        decided: (n, L) bool.
        majority: (L,) share of the other folds' rows that carry each label: the dullest rule.
        seconds: What it took.
    """

    rows: Ints
    probabilities: Scores
    decided: Truth
    majority: npt.NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class CrossValidated:
    """A finished cross-validation.

    Attributes:
        known: The train rows, then the validation rows.
        folds: In order; every row of `known` is in one.
        headline: The metric that the task puts first.
        pooled: Metrics of all rows together, with intervals over groups.
        majority: The same of the majority rule learnt from the other folds, without intervals.
        searched: Whether options were searched on the validation rows before.
        positions: (n,) rows of the dataset that `known` is made of; None outside a run.
        tree: The dataset's label tree, for hierarchical figures.
    """

    known: Examples
    folds: tuple[Fold, ...]
    headline: str
    pooled: dict[str, Metric]
    majority: dict[str, Metric]
    searched: bool = False
    positions: Ints | None = None
    tree: Hierarchy | None = None

    def write_on(self, card: dict[str, Any]) -> None:
        """Add "folds" to a model's card: "k", "rows", "each", "mean", "pooled", "majority"."""
        each = [
            {
                "fold": number,
                "rows": len(fold.rows),
                "seconds": round(fold.seconds, 1),
                "metrics": {name: round(one.value, 5) for name, one in _measured(self.known, fold, self.tree).items()},
            }
            for number, fold in enumerate(self.folds, start=1)
        ]
        card["folds"] = {
            "k": len(self.folds),
            "rows": len(self.known),
            "headline": self.headline,
            "each": each,
            "mean": fold_figures.spread(each),
            "pooled": {name: _numbers(one) for name, one in self.pooled.items()},
            "majority": {name: _numbers(one) for name, one in self.majority.items()},
        }
        if self.searched:
            card["notes"].append(_SEARCHED)

    def save(self, folder: Path) -> None:
        """Write folds.npz into a model's folder: each row's position in the dataset, its fold, answers and truth."""
        whole = _pooled(self.known, self.folds)
        number = np.zeros(len(self.known), dtype=np.int64)
        for at, fold in enumerate(self.folds, start=1):
            number[fold.rows] = at
        np.savez_compressed(
            folder / fold_figures.FILE,
            positions=np.arange(len(self.known)) if self.positions is None else self.positions,
            fold=number,
            probabilities=whole.probabilities,
            decided=whole.decided,
            truth=self.known.truth,
        )


_SEARCHED = (
    "Its options were searched on the validation split, whose rows are among the folds: the cross-validated figures "
    "are a little too kind."
)


def for_run(
    spec: RunSpec,
    family: Family[Any],
    options: FamilyOptions,
    dataset: Dataset,
    fitting: Fitting,
    folder: Path,
    *,
    balanced: bool,
    tree: Hierarchy | None = None,
) -> CrossValidated | None:
    """Cross-validate when a run's spec asks for it; None when not. Raises as `measure`."""
    if spec.folds is None:
        return None
    train, validation = dataset.examples("train"), dataset.examples("validation")
    ways: dict[str, Any] = {"balanced": balanced, "tree": tree}
    found = measure(family, options, train, validation, spec.folds, spec.seed, fitting, folder, **ways)
    positions = np.concatenate([dataset.positions("train"), dataset.positions("validation")])
    found = replace(found, searched=spec.tune is not None, positions=positions)
    value = found.pooled[found.headline].value if found.headline in found.pooled else float("nan")
    told = f"Cross-validated in {spec.folds} folds, pooled {found.headline.replace('_', ' ')} {value:.4f}."
    fitting.say("stage", name="folds", sentence=told)
    return found


def measure(
    family: Family[Any],
    options: FamilyOptions,
    train: Examples,
    validation: Examples,
    k: int,
    seed: int,
    fitting: Fitting,
    folder: Path,
    *,
    balanced: bool = False,
    tree: Hierarchy | None = None,
) -> CrossValidated:
    """Judge a method on every fold of the train and validation rows, fitted on the others.

    Which rows make a fold depends on the seed and k alone, so methods of one dataset meet the same folds. The run's
    own draws are left as they are: its model is the same with folds and without.

    Args:
        family: The method.
        options: Its options.
        train: The train split.
        validation: The validation split; may be empty for cheap families. Others get as large a share of the rows that
            a fold learns from to stop and calibrate on.
        k: Folds, 2 or more.
        seed: Seed of the folds and of every fit.
        fitting: Device and progress; each fold's checkpoints go to a folder of their own.
        folder: The run's folder, where finished folds are kept and found again.
        balanced: As for `judging.judge`.
        tree: As for `judging.judge`.

    Raises:
        MedbenchError: There are fewer groups than folds, or the method builds on earlier models.
        Stopped: The user stopped it; finished folds are kept.
    """
    check_folding(family, options)
    known = train.with_more(validation)
    splits.check_folds(known, k)
    plan = _Plan(family, options, known, len(validation) / len(known), k, seed, fitting, folder, balanced, tree)
    drawn = splits.folds(known, k, np.random.default_rng([seed, 0]))
    done = tuple(plan.fold(number, rows) for number, rows in enumerate(drawn, start=1))
    rng = np.random.default_rng([seed, k + 1])
    pooled = _evaluated(known, done, rng, _RESAMPLES, tree)
    majority = _evaluated(known, [_majority(fold) for fold in done], rng, 0, tree)
    return CrossValidated(known, done, fitting.around.headline, pooled, majority, tree=tree)


@dataclass(frozen=True)
class _Plan:
    """What is asked of every fold; the fields as in `measure`, `share` is that of the validation split."""

    family: Family[Any]
    options: FamilyOptions
    known: Examples
    share: float
    k: int
    seed: int
    fitting: Fitting
    folder: Path
    balanced: bool
    tree: Hierarchy | None = None

    def fold(self, number: int, rows: Ints) -> Fold:
        """Return one fold, as it was kept or judged now."""
        path = self.folder / FOLDER / f"fold-{number}.npz"
        found = _read(path, rows, self.options)
        if found is None:
            found = self._judged(number, rows)
            _write(path, found, self.options)
        headline = self.fitting.around.headline
        value = _measured(self.known, found, self.tree).get(headline)
        told = f"{headline.replace('_', ' ')} {value.value:.4f}" if value else "done"
        self.fitting.say("stage", name="fold_done", fold=number, sentence=f"Fold {number} of {self.k}: {told}.")
        return found

    def _judged(self, number: int, rows: Ints) -> Fold:
        say, cheap = self.fitting.say, self.family.cheap
        if say.stopping:
            raise Stopped
        say("stage", name="fold", sentence=f"Cross-validation, fold {number} of {self.k}.")
        began = time.monotonic()
        rng = np.random.default_rng([self.seed, number])
        rest = self.known.take(np.setdiff1d(np.arange(len(self.known)), rows))
        parts = {**_parted(rest, 0.0 if cheap else self.share, rng), "test": self.known.take(rows)}
        places = self.folder / FOLDER / f"checkpoints-{number}" if self.fitting.checkpoints else None
        told = _FoldSay(stop=say.stop, outer=say, number=number, k=self.k, several=cheap)
        inside = replace(self.fitting, rng=rng, say=told, checkpoints=places)
        ways: dict[str, Any] = {"balanced": self.balanced, "tree": self.tree}
        found = judging.answers(self.family, self.options, parts, fitting=inside, **ways)
        if say.stopping:
            raise Stopped  # a fit that was cut short would be unfair to the method
        if places is not None:
            shutil.rmtree(places, ignore_errors=True)
        shares = rest.truth.mean(axis=0).astype(np.float64)
        return Fold(rows, found.probabilities, found.decided, shares, time.monotonic() - began)


def _parted(rest: Examples, share: float, rng: np.random.Generator) -> dict[str, Examples]:
    """Return what a fold learns from as a train and a validation split."""
    if share == 0:
        return {"train": rest, "validation": rest.take([])}
    groups = rest.groups or tuple(str(row) for row in range(len(rest)))
    part = splits.stratify(rest.truth, groups, (1 - share, share), rng)
    return {"train": rest.take(np.flatnonzero(part == 0)), "validation": rest.take(np.flatnonzero(part == 1))}


@dataclass
class _FoldSay(Say):
    """Passes on how far a fold's fit is, as a part of the whole; curves and other news of a fold stay inside.

    Where a fold is several fits, as for cheap families, their steps do not add up: the bar then moves by folds.
    """

    outer: Say = field(default_factory=Say)
    number: int = 1
    k: int = 1
    several: bool = False

    def __call__(self, kind: str, **fields: Any) -> None:
        """Say progress aloud, keep the rest."""
        step, steps = fields.get("step"), fields.get("steps")
        if kind != "progress" or step is None or not steps:
            return
        step, steps = (0, 1) if self.several else (step, steps)
        told = f"Cross-validation, fold {self.number} of {self.k}. {fields.get('sentence') or ''}".strip()
        self.outer("progress", step=(self.number - 1) * steps + step, steps=self.k * steps, sentence=told)


def _measured(known: Examples, fold: Fold, tree: Hierarchy | None) -> dict[str, Metric]:
    rng = np.random.default_rng(0)  # draws nothing: there are no resamples
    truth = known.truth[fold.rows]
    prob, decided = fold.probabilities, fold.decided
    return metrics.evaluate(truth, prob, decided, answer=known.answer, rng=rng, n_boot=0, tree=tree)


def _majority(fold: Fold) -> Fold:
    """Return a fold as the most frequent label of the other folds would have answered it."""
    decided = np.zeros(fold.decided.shape, dtype=bool)
    decided[:, int(fold.majority.argmax())] = True
    prob = np.tile(fold.majority.astype(np.float32), (len(fold.rows), 1))
    return replace(fold, probabilities=prob, decided=decided)


@dataclass(frozen=True)
class _Whole:
    probabilities: Scores
    decided: Truth


def _pooled(known: Examples, folds: Sequence[Fold]) -> _Whole:
    """Return the answers of all folds, in the order of the rows."""
    prob, decided = np.zeros(known.truth.shape, dtype=np.float32), np.zeros(known.truth.shape, dtype=bool)
    for fold in folds:
        prob[fold.rows], decided[fold.rows] = fold.probabilities, fold.decided
    return _Whole(prob, decided)


def _evaluated(
    known: Examples, folds: Sequence[Fold], rng: np.random.Generator, n_boot: int, tree: Hierarchy | None
) -> dict[str, Metric]:
    """Return the metrics of all rows together, resampled by group.

    Without those that rank all rows of a label: scores of different fits do not stand on one scale.
    """
    whole, groups = _pooled(known, folds), known.groups or None
    prob, decided, answer = whole.probabilities, whole.decided, known.answer
    ways: dict[str, Any] = {"groups": groups, "rng": rng, "n_boot": n_boot, "tree": tree}
    found = metrics.evaluate(known.truth, prob, decided, answer=answer, **ways)
    return {name: metric for name, metric in found.items() if name not in _RANKED}


def _numbers(metric: Metric) -> dict[str, Any]:
    facts = {"value": metric.value, "low": metric.low, "high": metric.high}
    return {**{name: value if value is None else round(value, 5) for name, value in facts.items()}, "n": metric.n}


def _told(options: FamilyOptions) -> str:
    return json.dumps(options.model_dump(mode="json"), sort_keys=True)


def _write(path: Path, fold: Fold, options: FamilyOptions) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            rows=fold.rows,
            probabilities=fold.probabilities,
            decided=fold.decided,
            majority=fold.majority,
            seconds=np.array(fold.seconds),
            options=np.array(_told(options)),
        )


def _read(path: Path, rows: Ints, options: FamilyOptions) -> Fold | None:
    """Return a fold that was finished before with the same rows and options; None when there is none to rely on."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            if not np.array_equal(kept["rows"], rows) or str(kept["options"]) != _told(options):
                return None
            return Fold(rows, kept["probabilities"], kept["decided"], kept["majority"], float(kept["seconds"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # damaged: it is judged again
