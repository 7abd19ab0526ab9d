"""From examples to a judged model: fit, calibrate on what was not trained on, score the test split once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import group_answers, metrics, splits, trust
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.evidence_figures import evidence_figures
from medbench.families import Family, FamilyOptions, Fitting, Model, check_relearning
from medbench.group_answers import GroupAnswers
from medbench.hierarchy import Hierarchy
from medbench.records import SPLITS, Examples, Metric, Scores, SplitName, Truth
from medbench.strangeness import PLACE, RATE, Stranger, fit_stranger, with_manner
from medbench.trust import Trust

Look = Callable[[Model, Sequence[str], Truth, str], None]
"""Given a judged model, the items it was judged on, what it decided, and their split (it learnt "out-of-fold")."""
Elsewhere = Callable[[Model, Stranger | None, Sequence[str]], dict[str, Any]]
"""Given a judged model, its "unlike the training data" detector, and the test items, which neither has seen.

Returns how well foreign items are told from these.
"""
FOLDS = 5
_SAMPLE_FOR_STRANGERS = 4000
NEIGHBOURS = 20_000
"""So many training items at most are kept to show the most similar ones."""


@dataclass(frozen=True)
class Placed:
    """Where training items lie in a model's own space. Embedding them costs as much as scoring them: done once a model.

    Attributes:
        rows: (n,) int64, their positions among the examples that the model learnt from, ascending.
        vectors: (n, d) float32 of length 1.
    """

    rows: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]

    def sample(self, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return (m, d) float32, the vectors of some of them, drawn at random."""
        return self.vectors[rng.permutation(len(self.vectors))[:_SAMPLE_FOR_STRANGERS]]


_NOWHERE = Placed(np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32))


def _placed(model: Model, known: Examples, rng: np.random.Generator) -> Placed:
    rows = np.sort(rng.permutation(len(known))[:NEIGHBOURS])
    return Placed(rows, _vectors(model, known, rows))


@dataclass(frozen=True)
class Outcome:
    """Per-item predictions of the judged items, saved so that every later question is answered without the model.

    Attributes:
        split: "test", "validation" or "out-of-fold".
        probabilities: (n_items, n_labels) calibrated.
        truth: (n_items, n_labels) bool.
        decided: (n_items, n_labels) bool.
        raw_reliability: (b, 3) claimed, true and n of every bin of the raw scores, to show what calibration did.
        groups: n_items keys of what belongs together, empty where nothing does.
    """

    split: str
    probabilities: Scores
    truth: Truth
    decided: Truth
    raw_reliability: npt.NDArray[np.float64]
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A fitted model with everything that was measured on the way.

    Attributes:
        model: The model that will be kept.
        trust: Calibration, thresholds, conformal sets and "unlike the training data", never fitted on test items.
        metrics: Metrics with intervals on the judged items.
        per_label: One row per label: n, precision, recall, F1, threshold.
        judged_on: In words, which items the metrics rest on.
        outcome: The judged items' predictions.
        known: Everything the kept weights learnt from.
        known_splits: The splits that `known` is made of, in its order.
        notes: Facts the card must state.
        placed: Where items of `known` lie, for the most similar ones.
        evidence: How far its evidence agrees with the annotators' (`evidence_figures`); None when they marked none,
            and for out-of-fold scores: the model knows those items by now.
        foreign: How well items from elsewhere are told from the test items; empty where nobody looked.
        groups: How the groups of the dataset's label tree are answered; None without a tree.
    """

    model: Model
    trust: Trust
    metrics: dict[str, Metric]
    per_label: list[dict[str, Any]]
    judged_on: str
    outcome: Outcome
    known: Examples
    known_splits: tuple[SplitName, ...]
    notes: list[str]
    placed: Placed
    evidence: dict[str, Any] | None = None
    foreign: dict[str, Any] = field(default_factory=dict)
    groups: GroupAnswers | None = None


def judge(
    family: Family[Any],
    options: FamilyOptions,
    parts: dict[str, Examples],
    *,
    fitting: Fitting,
    keep_learning: bool,
    balanced: bool = False,
    look: Look = lambda *_: None,
    elsewhere: Elsewhere = lambda *_: {},
    tree: Hierarchy | None = None,
) -> Judged:
    """Fit, tune trust, score the test split once, and fit the kept weights.

    Cheap families' calibration and thresholds come from out-of-fold scores over train + validation, others' from the
    validation split. Without a test split, the metrics rest on the same and say so.

    Args:
        family: The method.
        options: Its options.
        parts: "train", "validation" and "test" examples; the last two may be empty for cheap families.
        fitting: Randomness, device, progress and checkpoints.
        keep_learning: Fit once more on all rows after judging (weights only; the figures stay those of before).
        balanced: Decide so that rare labels get their due (tasks whose headline is balanced accuracy).
        look: Shown the model that was judged, before it may be fitted again.
        elsewhere: Shown the same model with its detector of foreign items, when there is a test split.
        tree: The dataset's label tree: labels are made to agree with it, and its groups get answers.
    """
    check_relearning(family, keep_learning)
    validation = parts["validation"]
    known, held, held_scores, model, scale, placed = _fitted(family, options, parts["train"], validation, fitting)
    confidence, groups = trusted(held_scores, held, fitting.rng, balanced, tree)
    judged, raw, which, words = _what_to_judge(family, model, parts, held, held_scores, fitting.say)
    probabilities = confidence.calibrate(raw)
    decided = confidence.decide(probabilities)
    measured = measure(judged, probabilities, decided, fitting.rng, tree)
    look(model, judged.items, decided, which)
    foreign = elsewhere(model, _strangers(placed, scale, known, fitting) if which == "test" else None, judged.items)
    evidence = None if which == "out-of-fold" else evidence_figures(model, judged, decided, fitting.say)
    known_splits: tuple[SplitName, ...] = SPLITS[:2] if family.cheap or model.cross_fitted else SPLITS[:1]
    notes = [] if which == "test" else [_NO_TEST]
    if keep_learning and which == "test" and not fitting.say.stopping:
        known, known_splits, notes = known.with_more(parts["test"]), (*known_splits, "test"), [_KEPT_LEARNING]
        model, placed = _fitted_again(family, options, known, validation, replace(fitting, start=None))
    confidence = replace(confidence, stranger=_strangers(placed, scale, known, fitting))
    per_label = _label_rows(judged, probabilities, decided, confidence)
    outcome = Outcome(which, probabilities, judged.truth, decided, _reliability(judged, raw), judged.groups)
    found = (notes, placed, evidence, foreign, groups)
    words += _NESTED * (groups is not None and groups.tree.nests_labels)
    return Judged(model, confidence, measured, per_label, words, outcome, known, known_splits, *found)


def trusted(
    scores: Scores, held: Examples, rng: np.random.Generator, balanced: bool, tree: Hierarchy | None
) -> tuple[Trust, GroupAnswers | None]:
    """Fit what answers carry on held-out scores: for the labels, and for the groups of their tree."""
    above = tree.label_above if tree is not None and tree.nests_labels and held.answer == "many" else None
    fitted = trust.fit_trust(
        scores, held.truth, held.answer, None, None, rng, groups=held.groups, balanced=balanced, above=above
    )
    return fitted, None if tree is None else group_answers.fit(tree, fitted.calibrate(scores), held.truth)


def _fitted_again(
    family: Family[Any], options: FamilyOptions, everything: Examples, validation: Examples, fitting: Fitting
) -> tuple[Model, Placed]:
    fitting.say("stage", name="refit", sentence=f"Fitting the kept weights on all {len(everything):,} rows.")
    model = family.fit(everything, _nothing(everything) if family.cheap else validation, options, fitting)
    return model, _placed(model, everything, fitting.rng)


def answers(
    family: Family[Any],
    options: FamilyOptions,
    parts: dict[str, Examples],
    *,
    fitting: Fitting,
    balanced: bool = False,
    tree: Hierarchy | None = None,
) -> Outcome:
    """Fit and answer the test split just as `judge` does, without what only a model that is kept needs.

    For one fold of a cross-validation. Arguments as for `judge`; the test split must not be empty.
    """
    train, validation, test = parts["train"], parts["validation"], parts["test"]
    _, held, held_scores, model, _, _ = _fitted(family, options, train, validation, fitting, kept=False)
    confidence, _ = trusted(held_scores, held, fitting.rng, balanced, tree)
    raw = model.scores(test.items)
    probabilities = confidence.calibrate(raw)
    return Outcome(
        "test", probabilities, test.truth, confidence.decide(probabilities), _reliability(test, raw), test.groups
    )


def _reliability(judged: Examples, raw: Scores) -> npt.NDArray[np.float64]:
    bins = metrics.reliability_curve(judged.truth, raw, judged.answer)
    return np.array([[row["claimed"], row["true"], row["n"]] for row in bins]).reshape(-1, 3)


def _label_rows(judged: Examples, probabilities: Scores, decided: Truth, confidence: Trust) -> list[dict[str, Any]]:
    rows = metrics.per_label(judged.truth, probabilities, decided, judged.labels)
    return [
        {**row, "threshold": round(float(threshold), 4)}
        for row, threshold in zip(rows, confidence.thresholds.tolist(), strict=True)
    ]


def _fitted(
    family: Family[Any],
    options: FamilyOptions,
    train: Examples,
    validation: Examples,
    fitting: Fitting,
    *,
    kept: bool = True,
) -> tuple[Examples, Examples, Scores, Model, Stranger | None, Placed]:
    """Return what was learnt from, what trust is fitted on, its scores, the model, how far held-out items lie.

    And where the items that it learnt from lie. Of a model that is not kept, distances and places stay unknown.
    """
    if len(train) == 0:
        raise MedbenchError(
            "labelled rows to learn from", "an empty train split", "Save the dataset with a train share."
        )
    if family.cheap:
        known = train.with_more(validation)
        scores, scale = _out_of_fold(family, options, known, fitting, measure=kept)
        fitting.say("stage", name="fit", sentence=f"Fitting on {len(known):,} rows.")
        model = family.fit(known, _nothing(known), options, fitting)
        return known, known, scores, model, scale, _placed(model, known, fitting.rng) if kept else _NOWHERE
    if len(validation) == 0:
        raise MedbenchError(
            f"a validation split for {family.title}", "none", "Save the dataset with a validation share, e.g. 70/15/15."
        )
    model = family.fit(train, validation, options, fitting)
    rows = "out-of-fold answers" if model.cross_fitted else "the validation split"
    fitting.say("stage", name="calibrate", sentence=f"Calibrating on {rows}.")
    known = held = train.with_more(validation)
    if not model.cross_fitted:
        known, held = train, validation
    scores = model.held_out(held.items)
    if not kept:
        return known, held, scores, model, None, _NOWHERE
    placed = _placed(model, known, fitting.rng)
    scale = _distances(placed.sample(fitting.rng), model.embed(validation.items), fitting)
    return known, held, scores, model, scale, placed


_NESTED = "; a label counts as true wherever one below it is"
_NO_TEST = (
    "Judged without a test split: calibration and thresholds saw these rows, so the figures are a little too kind."
)
_KEPT_LEARNING = (
    "After the figures were taken, the kept weights were fitted once more on all rows with the same options; "
    "the figures belong to the fit that had not seen the test rows."
)


def _what_to_judge(
    family: Family[Any], model: Model, parts: dict[str, Examples], held: Examples, held_scores: Scores, say: Say
) -> tuple[Examples, Scores, str, str]:
    """Return the judged examples, their raw scores, their split's name, and a sentence about them."""
    test = parts["test"]
    if len(test):
        say("stage", name="judge", sentence=f"Scoring the test split once ({len(test):,} rows).")
        return test, model.scores(test.items), "test", f"the test split, {len(test):,} rows that training never saw"
    which = "out-of-fold" if family.cheap or model.cross_fitted else "validation"
    return held, held_scores, which, f"{which} scores of {len(held):,} rows (the dataset has no test split)"


def _strangers(placed: Placed, scale: Stranger | None, known: Examples, fitting: Fitting) -> Stranger | None:
    """Fit "unlike the training data": centres from the kept model, the scale of distances from held-out items.

    A refitted model may span another space, so its centres are its own; how far items lie that a fit did not see is
    taken from the fit that did not see them. How texts are written needs no model. Draws of its own: what is kept must
    not depend on whether anybody looked.
    """
    rng = np.random.default_rng(0)
    sample = placed.sample(rng)
    kept = fit_stranger(sample, sample, rng)
    place = None if kept is None or scale is None else replace(scale, centroids=kept.centroids)
    return with_manner(place, known.items, known.groups) if fitting.around.item == "text" else place


def _distances(train: npt.NDArray[np.float32], held: npt.NDArray[np.float32], fitting: Fitting) -> Stranger | None:
    """Return how far held-out items lie. Of texts fewer may be beyond the limit: their manner tells more."""
    return fit_stranger(train, held, fitting.rng, PLACE * RATE if fitting.around.item == "text" else RATE)


def _vectors(model: Model, examples: Examples, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return model.embed([examples.items[row] for row in rows])


def _out_of_fold(
    family: Family[Any], options: FamilyOptions, examples: Examples, fitting: Fitting, *, measure: bool
) -> tuple[Scores, Stranger | None]:
    """Return scores of every example from a model that did not see it (groups kept together).

    Also, when asked to `measure` it, how far the first fold's items lie from the training items of its model.
    """
    scores = np.zeros(examples.truth.shape, dtype=np.float32)
    folds = splits.folds(examples, min(FOLDS, len(examples)), fitting.rng)
    scale: Stranger | None = None
    for number, held in enumerate(folds, start=1):
        if fitting.say.stopping:
            raise Stopped
        sentence = f"Cross-fitting for honest calibration, fold {number} of {len(folds)}."
        fitting.say("progress", step=number - 1, steps=len(folds), sentence=sentence)
        quiet = _FoldSay(stop=fitting.say.stop, outer=fitting.say, told=sentence, before=number - 1, k=len(folds))
        inside = Fitting(fitting.rng, fitting.device, quiet, around=fitting.around)
        rest = np.setdiff1d(np.arange(len(examples)), held)
        model = family.fit(examples.take(rest), _nothing(examples), options, inside)
        scores[held] = model.scores([examples.items[row] for row in held])
        if measure and number == 1:
            sample = fitting.rng.permutation(rest)[:_SAMPLE_FOR_STRANGERS]
            scale = _distances(_vectors(model, examples, sample), _vectors(model, examples, held), fitting)
    return scores, scale


@dataclass
class _FoldSay(Say):
    """Passes on how far a fold's fit is, as a part of all folds; everything else a fold says is kept to itself."""

    outer: Say = field(default_factory=Say)
    told: str = ""
    before: int = 0
    k: int = 1

    def __call__(self, kind: str, **fields: Any) -> None:
        """Say progress aloud, keep the rest."""
        step, steps = fields.get("step"), fields.get("steps")
        if kind == "progress" and step is not None and steps:
            self.outer(kind, step=self.before * steps + step, steps=self.k * steps, sentence=self.told)


def majority(
    train: Examples, judged: Examples, rng: np.random.Generator, tree: Hierarchy | None = None
) -> dict[str, Metric]:
    """Score the dullest rule there is: give every item the most frequent label of the train split.

    Its probabilities are the label shares of the train split. No model may be shown without it.
    """
    shares = train.truth.mean(axis=0)
    probabilities = np.tile(shares.astype(np.float32), (len(judged), 1))
    decided = np.zeros(judged.truth.shape, dtype=bool)
    decided[:, int(shares.argmax())] = True
    return measure(judged, probabilities, decided, rng, tree)


def measure(
    judged: Examples, prob: Scores, decided: Truth, rng: np.random.Generator, tree: Hierarchy | None
) -> dict[str, Metric]:
    """Return every metric of calibrated answers, with intervals by group."""
    groups = judged.groups or None
    return metrics.evaluate(judged.truth, prob, decided, answer=judged.answer, groups=groups, rng=rng, tree=tree)


def _nothing(like: Examples) -> Examples:
    return Examples([], np.zeros((0, len(like.labels)), dtype=bool), like.labels, like.answer, ())
