"""A quick model answers what it is sure of, a slow one the rest; where the line lies is tuned on validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.comparing_verdict import title_of
from medbench.errors import MedbenchError
from medbench.families import Estimate, Family, FamilyOptions, Fitting, Model, Surroundings
from medbench.families import _ensemble_members as members
from medbench.families._ensemble_combining import figure
from medbench.families._ensemble_members import Member
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores, Truth
from medbench.workspace import read_json, write_json

CARD, FOLDERS = "cascade.json", ("1-quick", "2-slow")
NOBODY = -1.0
"""A limit of doubt below all doubts: every text goes on to the slow model."""
_SHARES = 40


class CascadeOptions(FamilyOptions):
    """Options of the cascade."""

    quick: str = Field(
        "",
        description="The model that reads every text, by its id.",
        json_schema_extra={"models": "single", "label": "Quick model"},
    )
    slow: str = Field(
        "",
        description="The model that reads what the quick one is unsure of, by its id.",
        json_schema_extra={"models": "single", "label": "Slow model"},
    )
    loss: float = Field(
        0.2,
        ge=0,
        le=10,
        description="How much of the slow model's headline figure may be given up for speed, in points of 100, "
        "on validation rows.",
        json_schema_extra={"label": "Points given up"},
    )


@dataclass(frozen=True)
class _Asked:
    """What gathering members wants to know."""

    members: list[str]
    k: int = 2


@dataclass(frozen=True)
class Line:
    """Where the quick model's word is taken.

    Attributes:
        limit: Largest doubt of the quick model (`Trust.doubt`, 0-1) that it may answer with.
        share: Share of the validation items at or below it.
        figures: Headline of the quick model, the slow one and the cascade on validation items.
    """

    limit: float
    share: float
    figures: dict[str, float]


def draw_line(
    doubt: npt.NDArray[np.float64],
    quick: Scores,
    slow: Scores,
    truth: Truth,
    answer: AnswerKind,
    headline: str,
    loss: float,
) -> Line:
    """Return the line that leaves most to the quick model while the headline stays within `loss` of the slow one's.

    Args:
        doubt: (n,) the quick model's doubt of items that neither model was fitted on.
        quick: (n, L) its calibrated probabilities.
        slow: (n, L) those of the slow model.
        truth: (n, L) bool.
        answer: "one" or "many".
        headline: A metric's name, see `_ensemble_combining.figure`.
        loss: What may be given up, 0-1.
    """
    alone = {"quick": figure(headline, quick, truth, answer), "slow": figure(headline, slow, truth, answer)}
    best = Line(NOBODY, 0.0, {**alone, "cascade": alone["slow"]})
    for limit in np.unique(np.quantile(doubt, np.linspace(0, 1, _SHARES + 1))):
        sure = doubt <= limit
        value = figure(headline, np.where(sure[:, None], quick, slow), truth, answer)
        if value >= alone["slow"] - loss:
            best = Line(float(limit), float(sure.mean()), {**alone, "cascade": value})
    return best


class CascadeModel(Model):
    """Two models in a row."""

    def __init__(self, quick: Member, slow: Member, card: dict[str, Any]) -> None:
        """Take both models, and the line and the notes from the card."""
        self.quick, self.slow, self.card = quick, slow, card
        self.labels, self.answer = tuple(card["labels"]), card["answer"]
        self._last: tuple[tuple[str, ...], npt.NDArray[np.bool_]] = ((), np.zeros(0, dtype=bool))

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) float32 calibrated probabilities of whichever model answers each text."""
        found = self.quick.probabilities(items).copy()
        unsure = self._unsure(found)
        self._last = (tuple(items), unsure)
        asked = np.flatnonzero(unsure).tolist()
        if asked:
            found[asked] = self.slow.probabilities([items[row] for row in asked])
        return found

    def _unsure(self, prob: Scores) -> npt.NDArray[np.bool_]:
        return np.asarray(self.quick.trust.doubt(prob) > self.card["limit"])

    def passed_on(self, items: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return (n,) bool: True where the slow model answers. Items just scored are not read again for it."""
        known, unsure = self._last
        return unsure if known == tuple(items) else self._unsure(self.quick.probabilities(items))

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the quick model's (n, d) vectors: what is unlike its training texts is unlike the slow model's too."""
        return self.quick.model.embed(items)

    def cut(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n,) float32, the share of each text's words that the model which answers does not read."""
        found = self.quick.model.cut(items).copy()
        asked = np.flatnonzero(self.passed_on(items)).tolist()
        if asked:
            found[asked] = self.slow.model.cut([items[row] for row in asked])
        return found

    def reasons(self, item: str, label: str) -> Explanation:
        """Return the evidence of the model that answers this text."""
        member = self.slow if bool(self.passed_on([item])[0]) else self.quick
        return member.model.reasons(item, label)

    def methods(self) -> tuple[str, ...]:
        """Return the evidence of the model that answers."""
        return ("member",)

    def notes(self) -> tuple[str, ...]:
        """Return who answers how much, and what that costs."""
        return tuple(self.card["notes"])

    def save(self, folder: Path) -> None:
        """Write cascade.json and both models with their calibration and cards."""
        for name, member in zip(FOLDERS, (self.quick, self.slow), strict=True):
            member.save(folder / name)
        write_json(folder / CARD, self.card)


class Cascade(Family[CascadeOptions]):
    """A quick model before a slow one."""

    name = "cascade"
    title = "Cascade"
    summary = "A quick model answers what it is sure of, a slow one the rest: nearly its figures, much faster."
    items: ClassVar[frozenset[ItemKind]] = frozenset({"text"})
    answers: ClassVar[frozenset[AnswerKind]] = frozenset({"one", "many"})
    relearns = False
    combines = True
    Options = CascadeOptions

    def fit(self, train: Examples, validation: Examples, options: CascadeOptions, fitting: Fitting) -> CascadeModel:
        """Draw the line on `validation`, which neither model has learnt from.

        Raises:
            MedbenchError: A model is not named, unknown or does not fit, or validation is empty.
            Stopped: When the user stopped it.
        """
        if not len(validation):
            raise MedbenchError("a validation split for a cascade", "none", "Save the dataset with one.")
        (quick, slow), prob = members.gather(_asked(options), train, validation, fitting)
        headline = fitting.around.headline
        doubt = quick.trust.doubt(prob[0])
        line = draw_line(doubt, prob[0], prob[1], validation.truth, validation.answer, headline, options.loss / 100)
        return CascadeModel(quick, slow, _card(quick, slow, line, train, headline))

    def load(self, folder: Path, device: Device) -> CascadeModel:
        """Load a saved cascade. Raises MedbenchError when a file is missing or damaged."""
        if not (folder / CARD).exists():
            raise MedbenchError(f"{CARD} of a saved cascade", f"none in {str(folder)!r}", "Restore it or train again.")
        quick, slow = (members.load_member(folder / name, device) for name in FOLDERS)
        return CascadeModel(quick, slow, read_json(folder / CARD))

    def estimate_among(
        self, train: Examples, options: CascadeOptions, device: Device, around: Surroundings
    ) -> Estimate:
        """Say what stands against it and what scoring the validation rows twice takes."""
        try:
            asked = _asked(options)
        except MedbenchError as error:
            return Estimate(problems=(str(error),))
        return members.estimate(train, asked, device, around)


def _asked(options: CascadeOptions) -> _Asked:
    if not options.quick or not options.slow or options.quick == options.slow:
        found = f"{options.quick or 'none'} and {options.slow or 'none'}"
        found = "none of them named" if not options.quick and not options.slow else found
        todo = "Choose a quick and a slow one; train them first, if there are none yet."
        raise MedbenchError("two different models of this dataset, a quick one and a slow one", found, todo)
    return _Asked([options.quick, options.slow])


def _card(quick: Member, slow: Member, line: Line, train: Examples, headline: str) -> dict[str, Any]:
    title = title_of(headline)
    told = ", ".join(f"{name} {value:.3f}" for name, value in line.figures.items())
    notes = [
        f"{quick.name} ({quick.facts['id']}) answers what it is sure of, "
        f"{100 * line.share:.0f} % of the validation rows; {slow.name} ({slow.facts['id']}) the rest.",
        f"On the validation split that the line was drawn on, {title}: {told}.",
    ]
    if line.limit == NOBODY:
        notes.append(
            "No line keeps the slow model's figures: it answers everything, and the quick one only costs time."
        )
    elif line.share == 1:
        notes.append("The quick model is as good on its own: it answers everything, and the slow one is not needed.")
    return {
        "version": 1,
        "labels": list(train.labels),
        "answer": train.answer,
        "limit": line.limit,
        "share": line.share,
        "figures": {headline: line.figures},
        "notes": notes,
    }


FAMILY = Cascade()
