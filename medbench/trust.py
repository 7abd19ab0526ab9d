"""What every answer carries beside its label: probability, threshold, conformal set, doubt, "unlike the training data".

A model folder keeps it in two files, both written by `Trust.save`: `trust.json` (numbers a person can read) and
`trust.npz` (arrays; nothing pickled).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from medbench import human_band
from medbench.calibration import expected_calibration_error, log_loss
from medbench.calibrators import TOGETHER, Fitted, Method, Ordered, Together, Whole, calibrator_from, fit_method, tried
from medbench.errors import MedbenchError
from medbench.human_band import Band, band_from
from medbench.label_sets import label_sets
from medbench.records import AnswerKind, Scores, Truth
from medbench.slices import slices_of
from medbench.strangeness import NOWHERE, Sight, Stranger, Vectors, fit_stranger, stranger_from
from medbench.thresholds import MANY_LABELS, balancing_shares, conformal_cutoff, tune_thresholds
from medbench.tree_order import Ints, ordered
from medbench.workspace import read_json, replacing, write_json

Floats = npt.NDArray[np.float64]
VERSION: Final = 1
_FOLDS = 5
_NEARLY_ALL = 0.98


@dataclass(frozen=True)
class Trust:
    """Everything fitted after the model, on data the model did not see.

    Attributes:
        answer: "one" or "many".
        method: How scores become probabilities; chosen by cross-fitted log loss.
        calibrator: The fitted map.
        thresholds: (L,) float64; a label is chosen at or above it. "one": the most probable in proportion wins.
        cutoff: A label is in the conformal set when its probability is at or above it; None without enough items.
        coverage: What the conformal sets promise. "one": the true label is in the set for this share of items.
            "many": on average this share of an item's true labels is in the set.
        stranger: The "unlike the training data" detector; None when the model gave no vectors.
        doubt_limit: Without a band, items at least this doubtful are sent to a person ("many" only).
        expects_label: True when nearly every item of the validation data carries a label.
        ece_before: Expected calibration error of the raw scores.
        ece_after: The same of calibrated probabilities, cross-fitted: never on the items the map was fitted on.
        n_items: How many items it was fitted on.
        losses: Cross-fitted log loss of every method that was tried.
        band: Which answers no person has to read, with the promise of their error; None in models from before it.
    """

    answer: AnswerKind
    method: Method
    calibrator: Whole
    thresholds: Floats
    cutoff: float | None
    coverage: float
    stranger: Stranger | None
    doubt_limit: float
    expects_label: bool
    ece_before: float
    ece_after: float
    n_items: int
    losses: dict[str, float] = field(default_factory=dict)
    band: Band | None = None

    def calibrate(self, scores: Scores) -> Scores:
        """Return calibrated probabilities, (n, L) float32; rows sum to 1 when answer is "one"."""
        return self.calibrator(np.asarray(scores)).clip(0, 1).astype(np.float32)

    def alone(self, scores: Scores) -> Scores | None:
        """Return probabilities before labels that go together moved each other, (n, L) float32; None if they do not."""
        company = self.calibrator.inner if isinstance(self.calibrator, Ordered) else self.calibrator
        if not isinstance(company, Together):
            return None
        return company.inner(np.asarray(scores)).clip(0, 1).astype(np.float32)

    def decide(self, prob: Scores) -> Truth:
        """Return the labels chosen, (n, L) bool. For "many" an item may get none; for "one" it gets exactly one."""
        if self.answer == "many":
            return np.asarray(prob >= self.thresholds.astype(np.float32))
        return _top(self._weighed(prob))

    def _weighed(self, prob: Scores) -> Scores:
        """Return probabilities in proportion to their thresholds, rows summing to 1; as they are without thresholds."""
        if not self.thresholds.any():
            return prob
        values = np.asarray(prob, dtype=np.float64) / self.thresholds
        weighed: Scores = (values / np.maximum(values.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)
        return weighed

    def conformal_sets(self, prob: Scores) -> Truth:
        """Return the labels in each item's conformal set, (n, L) bool; all False when there is no `cutoff`.

        For "one" the label that is decided for is always in it.
        """
        if self.cutoff is None:
            return np.zeros(prob.shape, dtype=bool)
        inside = np.asarray(prob >= np.float32(self.cutoff))
        return inside | self.decide(prob) if self.answer == "one" else inside

    def doubt(self, prob: Scores) -> Floats:
        """Return (n,) float64, 0 (sure) to 1 (a coin toss): how near the closest decision is to changing.

        "one": 1 minus the gap between the two labels that come first. "many": a label's distance is measured from its
        threshold, as a share of the way to 0 or to 1, and the nearest label counts.
        """
        parts = [self._doubt(prob[rows]) for rows in slices_of(*prob.shape)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _doubt(self, prob: Scores) -> Floats:
        values = np.asarray(prob, dtype=np.float64)
        if self.answer == "many":
            limit = self.thresholds.clip(1e-6, 1 - 1e-6)
            distance = np.where(values >= limit, (values - limit) / (1 - limit), (limit - values) / limit)
            return np.asarray(1 - distance.min(axis=1)).clip(0, 1)
        if values.shape[1] < 2:
            return np.zeros(len(values))
        best = np.partition(self._weighed(prob).astype(np.float64), -2, axis=1)[:, -2:]
        return np.asarray(1 - (best[:, 1] - best[:, 0])).clip(0, 1)

    def look(self, embeddings: npt.NDArray[np.float32], texts: Sequence[str] = ()) -> Sight:
        """Return what is strange about items: see `Stranger.look`; nothing without a detector."""
        return (self.stranger or NOWHERE).look(embeddings, texts)

    def unlikeness(self, embeddings: npt.NDArray[np.float32], texts: Sequence[str] = ()) -> Floats:
        """Return (n,) float64, 0 (typical) to 1 (stranger than all items it was checked on)."""
        return self.look(embeddings, texts).unlikeness

    def unlike(self, embeddings: npt.NDArray[np.float32], texts: Sequence[str] = ()) -> npt.NDArray[np.bool_]:
        """Return (n,) bool: stranger than 99 % of the items it was checked on, which the model had not learnt from."""
        return self.look(embeddings, texts).unlike

    def needs_human(
        self, prob: Scores, embeddings: npt.NDArray[np.float32], texts: Sequence[str] = ()
    ) -> npt.NDArray[np.bool_]:
        """Return (n,) bool: True where a person should read the item: it is `unlike`, or the answer is `unsure`."""
        return self.unlike(embeddings, texts) | self.unsure(prob)

    def unsure(self, prob: Scores) -> npt.NDArray[np.bool_]:
        """Return (n,) bool: True where the answer itself calls for a person: the band does not let it stand alone.

        Without a band, "one": when the conformal set holds more than one label. "many": when its doubt reaches
        `doubt_limit`, or no label is chosen although nearly all validation items have one.
        """
        if self.band is not None:
            return ~self.band.alone(self.expected_error(prob))
        if self.answer == "one":
            return np.asarray(self.conformal_sets(prob).sum(axis=1) > 1)
        nothing = ~self.decide(prob).any(axis=1) if self.expects_label else np.zeros(len(prob), dtype=bool)
        return np.asarray(nothing | (self.doubt(prob) >= self.doubt_limit))

    def accepting(self, error: float) -> Trust:
        """Return it with another error accepted among answers that no person reads, 0-1."""
        return self if self.band is None else replace(self, band=self.band.at(error))

    def expected_error(self, prob: Scores) -> Floats:
        """Return (n,) float64, 0-1: the error that probabilities let expect; `NEVER` where a label is lacking."""
        parts = [self._expected(prob[rows]) for rows in slices_of(*prob.shape)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _expected(self, prob: Scores) -> Floats:
        return human_band.expected(prob, self.decide(prob), self.answer, expects_label=self.expects_label)

    def summary(self) -> dict[str, Any]:
        """Return the JSON-ready part: what the model card shows."""
        return {
            "version": VERSION,
            "answer": self.answer,
            "method": self.method,
            "thresholds": [round(float(value), 6) for value in self.thresholds],
            "cutoff": self.cutoff,
            "coverage": self.coverage,
            "doubt_limit": self.doubt_limit,
            "expects_label": self.expects_label,
            "ece_before": self.ece_before,
            "ece_after": self.ece_after,
            "n_items": self.n_items,
            "losses": self.losses,
            "stranger_limit": None if self.stranger is None else self.stranger.limit,
            "band": None if self.band is None else self.band.numbers(),
        }

    def save(self, folder: Path) -> None:
        """Write `trust.npz`, then `trust.json`, into an existing folder."""
        arrays = {f"calibrator.{name}": value for name, value in self.calibrator.arrays().items()}
        arrays["thresholds"] = self.thresholds
        if self.stranger is not None:
            arrays |= self.stranger.arrays()
        with replacing(folder / "trust.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        write_json(folder / "trust.json", self.summary())


def load(folder: Path) -> Trust:
    """Read what `Trust.save` wrote. Raises MedbenchError when a file is missing or damaged."""
    if not (folder / "trust.json").exists():
        raise MedbenchError("trust.json in the model's folder", f"none in {str(folder)!r}", "Train the model again.")
    facts = read_json(folder / "trust.json")
    try:
        with np.load(folder / "trust.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        stranger = stranger_from(arrays, facts["stranger_limit"])
        parts = {name.removeprefix("calibrator."): arrays[name] for name in arrays if name.startswith("calibrator.")}
        known = ("answer", "method", "cutoff", "coverage", "doubt_limit", "expects_label", "ece_before", "ece_after")
        return Trust(
            calibrator=calibrator_from(parts),
            thresholds=arrays["thresholds"],
            stranger=stranger,
            n_items=int(facts["n_items"]),
            losses=facts["losses"],
            band=band_from(facts["band"]) if facts.get("band") else None,
            **{name: facts[name] for name in known},
        )
    except (OSError, ValueError, KeyError) as error:
        raise MedbenchError("an undamaged trust.npz", f"{type(error).__name__}: {error}", "Train again.") from error


def fit_trust(
    scores: Scores,
    truth: Truth,
    answer: AnswerKind,
    embeddings_train: Vectors,
    embeddings_validation: Vectors,
    rng: np.random.Generator,
    coverage: float = 0.9,
    groups: tuple[str, ...] = (),
    balanced: bool = False,
    above: Ints | None = None,
) -> Trust:
    """Fit all that a `Trust` holds. Raises MedbenchError without an item to fit on.

    Args:
        scores: (n, L) float32 in [0, 1] of items the model was not fitted on (validation, or out-of-fold).
        truth: (n, L) bool.
        answer: "one" or "many".
        embeddings_train: As for `fit_stranger`; None for no detector.
        embeddings_validation: As for `fit_stranger`.
        rng: The only source of randomness.
        coverage: What conformal sets promise, 0-1.
        groups: n group keys; items of one group stay in one fold of the cross-fitting.
        balanced: For "one", decide for a high mean sensitivity over the labels, not for many right items.
        above: (L,) column of the label above each label in a tree, -1 for none: no label gets more than that one.
    """
    if not len(truth):
        raise MedbenchError("validation items to calibrate on", "none", "Give the dataset a validation split.")
    fold = _folds(len(truth), groups, rng)
    losses, honest = _cross_fitted(scores, truth, answer, fold)
    method = min(losses, key=losses.__getitem__)
    found, honest, company = _together(fit_method(method, scores, truth), honest, losses[method], truth, answer, fold)
    calibrator, honest = _in_order(found, honest, above)
    trust = Trust(
        answer=answer,
        method=method,
        calibrator=calibrator,
        thresholds=_thresholds(calibrator(scores), honest, truth, answer, balanced, rng),
        cutoff=conformal_cutoff(honest, truth, answer, coverage),
        coverage=coverage,
        stranger=fit_stranger(embeddings_train, embeddings_validation, rng),
        doubt_limit=1.0,
        expects_label=bool(truth.any(axis=1).mean() > _NEARLY_ALL),
        ece_before=expected_calibration_error(scores, truth, answer),
        ece_after=expected_calibration_error(honest, truth, answer),
        n_items=len(truth),
        losses={name: round(loss, 6) for name, loss in (*losses.items(), *company)},
    )
    answers = _without_fold(trust, honest, truth, fold, balanced)
    return replace(trust, band=human_band.fit(*answers, answer, groups))


def _without_fold(
    trust: Trust, honest: Floats, truth: Truth, fold: npt.NDArray[np.int64], balanced: bool
) -> tuple[Floats, Floats]:
    """Return expected and true errors of answers whose thresholds, too, were found without their fold."""
    found, wrong, prob = np.zeros(len(truth)), np.zeros(len(truth)), honest.astype(np.float32)
    for number in range(int(fold.max()) + 1):
        inside, others, inner = fold == number, fold != number, trust
        if others.any() and truth.shape[1] <= MANY_LABELS:
            rng = np.random.default_rng(number)  # its own, so that nothing else moves
            cuts = _thresholds(honest[others], honest[others], truth[others], trust.answer, balanced, rng)
            inner = replace(trust, thresholds=cuts)
        found[inside] = inner.expected_error(prob[inside])
        wrong[inside] = human_band.errors(inner.decide(prob[inside]), truth[inside], trust.answer)
    return found, wrong


def _together(
    fitted: Fitted, honest: Floats, own: float, truth: Truth, answer: AnswerKind, fold: npt.NDArray[np.int64]
) -> tuple[Fitted | Together, Floats, list[tuple[str, float]]]:
    """Return the calibrator and its cross-fitted probabilities with the labels' company, where that lowers their loss.

    And that loss with its name, when it was tried: for several labels an item and not too many, each fold without its
    own sets. `own` is the log loss of `honest`.
    """
    # With more labels there are nearly as many sets as items, and a set tells nothing.
    if answer == "one" or not 2 <= truth.shape[1] <= MANY_LABELS or not fold.max():
        return fitted, honest, []
    prob = np.empty(honest.shape)
    for number in range(int(fold.max()) + 1):
        prob[fold == number] = label_sets(truth[fold != number])(honest[fold == number])
    loss = log_loss(prob, truth, answer)
    if loss >= own:
        return fitted, honest, [(TOGETHER, loss)]
    return Together(fitted, label_sets(truth)), prob, [(TOGETHER, loss)]


def _in_order(fitted: Fitted | Together, honest: Floats, above: Ints | None) -> tuple[Whole, Floats]:
    """Return the calibrator and its cross-fitted probabilities, made to agree with a tree of the labels."""
    return (fitted, honest) if above is None else (Ordered(fitted, above), ordered(honest, above))


def _thresholds(
    fitted: Floats, honest: Floats, truth: Truth, answer: AnswerKind, balanced: bool, rng: np.random.Generator
) -> Floats:
    """Return the (L,) thresholds: tuned per label for "many", shares or zeros for "one"."""
    if answer == "many":
        return tune_thresholds(fitted, truth, rng)
    return balancing_shares(honest, truth) if balanced else np.zeros(truth.shape[1])


def _top(prob: Scores) -> Truth:
    chosen = np.zeros(prob.shape, dtype=bool)
    if prob.shape[1]:
        chosen[np.arange(len(prob)), prob.argmax(axis=1)] = True
    return chosen


def _folds(n_items: int, groups: tuple[str, ...], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return (n,) fold numbers; items of one group get the same."""
    _, group = np.unique(np.array(groups), return_inverse=True) if groups else (None, np.arange(n_items))
    n_groups = int(group.max()) + 1
    return np.asarray(rng.permutation(n_groups) % min(_FOLDS, n_groups))[group]


def _cross_fitted(
    scores: Scores, truth: Truth, answer: AnswerKind, fold: npt.NDArray[np.int64]
) -> tuple[dict[Method, float], Floats]:
    """Return each method's log loss and the best one's probabilities, every item's by a map fitted without its fold.

    One table of probabilities is kept, not one for each method: with thousands of labels each takes gigabytes.
    """
    losses: dict[Method, float] = {}
    best: Floats = np.zeros(scores.shape)
    for method in tried(answer, scores.size):
        prob = np.empty(scores.shape, dtype=np.float64)
        for number in range(int(fold.max()) + 1):
            inside = fold == number
            others = ~inside if (~inside).any() else inside  # a single item can only be fitted on itself
            prob[inside] = fit_method(method, scores[others], truth[others])(scores[inside])
        loss = log_loss(prob, truth, answer)
        if loss < min(losses.values(), default=np.inf):
            best = prob
        losses[method] = loss
    return losses, best
