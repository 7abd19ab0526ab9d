"""What a run starts from, judged on the rows that the tuned model is judged on: the number that tuning has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medbench.errors import Stopped
from medbench.events import Say
from medbench.families import Family, FamilyOptions, Fitting, Model
from medbench.hierarchy import Hierarchy
from medbench.judging import measure, trusted
from medbench.records import Examples, Metric, Scores

_AT_ONCE = 256


@dataclass(frozen=True)
class Before:
    """What was found.

    Attributes:
        metrics: Figures of what the fit starts from; none when that cannot answer.
        notes: How it came to answer, for the card.
        handed_on: What the fit can go on from, see `Model.handed_on`.
    """

    metrics: dict[str, Metric] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    handed_on: Any = None

    def on(self, fitting: Fitting) -> Fitting:
        """Return what a fit is given, with what it can go on from."""
        return replace(fitting, start=self.handed_on)


def judged(
    family: Family[Any],
    options: FamilyOptions,
    parts: dict[str, Examples],
    fitting: Fitting,
    *,
    balanced: bool = False,
    tree: Hierarchy | None = None,
) -> Before:
    """Judge what a family starts from; nothing is found when it cannot answer, or without a validation split.

    Calibration and thresholds come from the validation split, as for the tuned model. It has draws of its own, so that
    the tuned model does not depend on whether this was asked.

    Raises:
        Stopped: When the user stopped it.
    """
    held = parts["validation"]
    rng = np.random.default_rng(0)
    start = family.untuned(parts["train"], options, replace(fitting, rng=rng)) if len(held) else None
    if start is None:
        return Before()
    fitting.say("stage", name="baselines", sentence="Scoring the base before it is tuned.")
    scored = parts["test"] if len(parts["test"]) else held
    scores = _scores(start, held, fitting.say)
    confidence, _ = trusted(scores, held, rng, balanced, tree)
    found = confidence.calibrate(scores if scored is held else _scores(start, scored, fitting.say))
    metrics = measure(scored, found, confidence.decide(found), rng, tree)
    return Before(metrics, start.notes(), start.handed_on())


def _scores(start: Model, examples: Examples, say: Say) -> Scores:
    total, parts = len(examples), []
    for at in range(0, total, _AT_ONCE):
        if say.stopping:
            raise Stopped
        say("progress", step=at, steps=total, sentence=f"The base before tuning answers {total:,} items.")
        parts.append(start.scores(examples.items[at : at + _AT_ONCE]))
    return np.concatenate(parts)
