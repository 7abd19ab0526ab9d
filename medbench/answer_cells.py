"""One answer as cells: in the file that its record goes back out in, and in the table that a page shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from medbench import trust_figures
from medbench.predicting import Answers

SHOWN_SCORES = 5
ROW = ("labels", "top", "probability", "doubt", "needs_human", "unlike", "cut", "problem", "seen")
"""Columns of `table_row`."""


def additions(answers: Answers, row: int, corrected: list[str] | None = None) -> dict[str, str]:
    """Return what is added to a record on its way out, by `readers.ADDITIONS`.

    Args:
        answers: The answers.
        row: Which of them.
        corrected: The labels a reader decided on, in the model's place; None when nobody did.
    """
    loaded, probabilities = answers.loaded, answers.probabilities[row]
    labels, order = loaded.labels, np.argsort(-probabilities)
    decided = [labels[column] for column in order if answers.decided[row, column]]
    best = order[: max(SHOWN_SCORES, len(decided))]
    kept = decided if corrected is None else corrected
    inside = (labels[column] for column in order if answers.conformal[row, column])
    scores = "" if answers.problem(row) else ";".join(f"{labels[c]}={probabilities[c]:.3f}" for c in best)
    promise = loaded.row_words(not answers.needs_human[row], bool(answers.unlike[row]))
    return {
        "medbench_labels": ";".join(map(loaded.name_of, kept)),
        **({"medbench_groups": ";".join(loaded.groups.implied(kept))} if loaded.groups else {}),
        "medbench_scores": scores,
        **({"medbench_set": trust_figures.set_cell(loaded.card, inside)} if loaded.trust.cutoff is not None else {}),
        "medbench_model": loaded.id,
        "medbench_flags": "; ".join(_flags(answers, row, corrected is not None)),
        "medbench_promise": promise if corrected is None else "settled by a reader",
    }


def _flags(answers: Answers, row: int, corrected: bool) -> list[str]:
    told = (
        ("empty" if answers.empty[row] else "no answer", answers.problem(row)),
        ("unlike the training data", answers.unlike[row]),
        ("cut", answers.cut[row] > 0),
        ("needs a human", answers.needs_human[row]),
        ("corrected by a reader", corrected),
    )
    return [word for word, flag in told if flag]


def table_row(answers: Answers, row: int) -> dict[str, Any]:
    """Return one row of the table that a page shows: names of labels, the top one, doubt and flags; see `ROW`."""
    loaded, probabilities = answers.loaded, answers.probabilities[row]
    order = np.argsort(-probabilities)
    problem = answers.problem(row)
    return {
        "labels": "; ".join(loaded.name_of(loaded.labels[c]) for c in order[answers.decided[row, order]]),
        "top": "" if problem else loaded.name_of(loaded.labels[order[0]]),
        "probability": 0.0 if problem else round(float(probabilities[order[0]]), 4),
        "doubt": round(float(answers.doubt[row]), 4),
        "needs_human": bool(answers.needs_human[row]),
        "unlike": bool(answers.unlike[row]),
        "cut": round(float(answers.cut[row]), 4),
        "problem": problem,
    }
