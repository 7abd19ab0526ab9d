"""The curves of a run report: ROC and precision-recall of the labels and of all together, and how honest claims are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medbench import comparing_figures, comparing_judged
from medbench.binary_figures import Binary, binary
from medbench.comparing_judged import Answered
from medbench.records import Metric
from medbench.slices import area_over_pairs, steps_over_pairs
from medbench.squares import COLOURS, INK, Line, Square, thinned
from medbench.workspace import Workspace

LABELS_MOST = len(COLOURS) - 1
SEED = 0
POOLED = "all together"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curves:
    """What a report draws of one model.

    Attributes:
        text: What is drawn, and of which labels.
        squares: ROC and precision-recall.
        head: Column names of the table beside them.
        rows: One line for all labels together, then one for each that is drawn.
        reliability: Claimed against true shares, before and after calibration.
    """

    text: str
    squares: tuple[Square, ...]
    head: tuple[str, ...]
    rows: list[list[str]]
    reliability: Square


def curves(workspace: Workspace, model: Answered) -> Curves:
    """Return the curves of the items that a model was judged on.

    Args:
        workspace: Where its dataset lies; where it does not, intervals take items as independent.
        model: A model with its answers.

    Raises:
        MedbenchError: Files of the dataset are damaged.
    """
    carried = model.truth.sum(axis=0)
    order = np.argsort(-carried, kind="stable")[:LABELS_MOST]
    shown = [int(at) for at in order if 0 < carried[at] < len(model.truth)]
    names = {at: _name(model, at) for at in shown}
    known = (workspace.datasets / str(model.card["dataset"]["id"]) / "dataset.json").is_file()
    groups = comparing_judged.items_of(workspace, model).groups.astype(str).tolist() if known else None
    rng = np.random.default_rng(SEED)
    figures = {
        at: binary(
            names[at], model.truth[:, at], model.probabilities[:, at], model.decided[:, at], groups=groups, rng=rng
        )
        for at in shown
    }
    roc, precise, area, average = _pooled(model)
    pairs = int(carried.sum())
    rows = [[POOLED, f"{pairs:,}", f"{area:.3f}", f"{average:.3f}", f"{pairs / model.truth.size:.3f}"]]
    rows += [_row(one) for one in figures.values()]
    return Curves(
        _text(model, len(shown)),
        (_roc(model, roc, area, figures), _precise(model, precise, average, figures)),
        ("", "carry it", "AUC [95 % interval]", "average precision [95 %]", "guessing"),
        rows,
        _reliability(model),
    )


def _name(model: Answered, at: int) -> str:
    label = model.labels[at]
    return str(model.card.get("label_names", {}).get(label, label))


def _text(model: Answered, n_shown: int) -> str:
    every = n_shown == int(model.truth.any(axis=0).sum())
    which = "each label" if every else f"the {n_shown} labels that most items carry"
    return (
        f"On {len(model.truth):,} {model.split} items. Black: all labels together, every pair of an item and a label "
        f"counted alike; in colour: {which}, told from all others. The legend gives the area under the curve, for the "
        "second plot the average precision. Dotted grey: guessing, whose average precision is the share that carry it."
    )


def _row(one: Binary) -> list[str]:
    return [
        one.name,
        f"{one.positives:,}",
        _figure(one.auc),
        _figure(one.average_precision),
        f"{one.positives / one.n:.3f}",
    ]


def _figure(metric: Metric | None) -> str:
    if metric is None:
        return "–"
    interval = "" if metric.low is None else f" [{metric.low:.3f}, {metric.high:.3f}]"
    return f"{metric.value:.3f}{interval}"


def _pooled(model: Answered) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats], float, float]:
    """Return the pooled ROC and precision-recall curves with their areas; the second by steps, as average precision."""
    true, above, false = steps_over_pairs(model.truth, model.probabilities)
    n_true, n_false = int(model.truth.sum()), int(model.truth.size - model.truth.sum())
    recall, precision = true / max(n_true, 1), true / np.maximum(true + false, 1)
    # Across to the false pairs above a score, then up: slanted only where true and false pairs tie.
    across = np.stack([above, false], axis=1).ravel() / max(n_false, 1)
    up = np.concatenate([[0.0], np.repeat(recall, 2)])
    roc = (np.concatenate([across, [1.0]]), up[: len(across) + 1])
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    return roc, (recall, precision), area_over_pairs(model.truth, model.probabilities), average


def _roc(model: Answered, pooled: tuple[Floats, Floats], area: float, figures: dict[int, Binary]) -> Square:
    lines = [_line(f"{_short(one.auc)} {one.name}", comparing_figures.roc(model, model.labels[at]), at_colour)
             for at_colour, (at, one) in enumerate(figures.items())]  # fmt: skip
    lines.append(Line(f"{area:.3f} {POOLED}", *thinned(*pooled), INK))
    return Square("ROC", "1 − specificity", "sensitivity", lines, (0, 1))


def _precise(model: Answered, pooled: tuple[Floats, Floats], average: float, figures: dict[int, Binary]) -> Square:
    lines = [
        _line(
            f"{_short(one.average_precision)} {one.name}",
            comparing_figures.precision_recall(model, model.labels[at]),
            to,
        )
        for to, (at, one) in enumerate(figures.items())
    ]
    lines.append(Line(f"{average:.3f} {POOLED}", *thinned(*pooled), INK))
    share = float(model.truth.mean())
    return Square("Precision and recall", "recall (sensitivity)", "precision", lines, (share, share))


def _line(name: str, curve: comparing_figures.Curve, colour: int) -> Line:
    return Line(name, *thinned(curve.x, curve.y), COLOURS[colour])


def _short(metric: Metric | None) -> str:
    return "–" if metric is None else f"{metric.value:.3f}"


def _reliability(model: Answered) -> Square:
    after, before = map(comparing_figures.enough_pairs, (comparing_figures.reliability(model), model.raw_reliability))
    lines = [Line("after calibration", after[:, 0].tolist(), after[:, 1].tolist(), COLOURS[0], marks=True)]
    if len(before):
        was = (before[:, 0].tolist(), before[:, 1].tolist())
        lines.insert(0, Line("before calibration", *was, COLOURS[1], dotted=True, marks=True))
    return Square("Claimed and true shares", "claimed probability", "share that was true", lines, (0, 1))
