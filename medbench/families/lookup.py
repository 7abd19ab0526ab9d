"""Codes by looking up a note's phrases in the code tables: works without training; training adds what a dataset means.

Files in a model's folder, written by `LookupModel.save`:

    lookup.json    labels, each label's share in the training data, and phrase code → {label: share}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.codes import parse, tables
from medbench.codes_spotting import Mention, Suggestion, mentions, suggest
from medbench.errors import MedbenchError, Stopped
from medbench.families import Estimate, Family, FamilyOptions, Fitting, Model
from medbench.families._hashed_words import hashed_words
from medbench.records import AnswerKind, Device, Examples, Explanation, Scores, Span
from medbench.workspace import read_json, write_json

__all__ = ["FAMILY", "Lookup", "LookupModel", "LookupOptions", "Suggestion", "suggest"]

_FEW = 0.02  # the most that a label without a mention scores; its share in the training data orders such labels


class LookupOptions(FamilyOptions):
    """Options of `lookup`."""

    only_codable: bool = Field(
        True,
        description="Leave out what is denied, a relative's, past or uncertain; off where a dataset codes these too.",
    )
    trust: float = Field(
        8.0, gt=0, description="How many training texts the code tables are worth against what the dataset codes."
    )


@dataclass
class LookupModel(Model):
    """What phrases mean, by the tables and by the training data.

    Attributes:
        labels: L labels; those that are no code of the tables are scored by what training taught only.
        share: (L,) float32, each label's share in the training data; zero without training.
        meant: Code that a phrase means by the tables -> label -> probability that the dataset gives it.
        only_codable: Whether negated, family, past and uncertain mentions are left out.
    """

    labels: tuple[str, ...]
    share: npt.NDArray[np.float32]
    meant: Mapping[str, Mapping[str, float]]
    only_codable: bool = True
    answer: AnswerKind = "many"

    def __post_init__(self) -> None:
        self._column = {label: at for at, label in enumerate(self.labels)}

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) float32: the chance that one of a text's mentions means the label, by noisy-or."""
        out = np.empty((len(items), len(self.labels)), dtype=np.float32)
        for row, item in enumerate(items):
            missed = 1 - _FEW * self.share
            for code, score in _spoken(item, self.only_codable).items():
                for label, chance in self._means(code, score).items():
                    missed[self._column[label]] *= 1 - chance
            out[row] = 1 - missed
        return np.clip(out, 0, 1)

    def _means(self, code: str, score: float) -> Mapping[str, float]:
        """Return label -> chance for a spotted code; without training the code itself with the tables' score."""
        if code in self.meant:
            return self.meant[code]
        return {code: score} if code in self._column else {}

    def suggest(self, text: str) -> list[Suggestion]:
        """Return the codes that a note's words say, with their places; see `codes_spotting.suggest`."""
        return suggest(text)

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n, 256) float32 row-normalised counts of hashed words; 0 for a text without words."""
        return hashed_words(items)

    def reasons(self, item: str, label: str) -> Explanation:
        """Mark the mentions that mean the label, with their chance."""
        spans = []
        for mention in _counted(item, self.only_codable):
            chance = self._means(mention.code.label, mention.score).get(label, 0.0)
            if chance > 0:
                spans.append(Span(mention.start, mention.end, float(chance)))
        return Explanation(label, "lookup", tuple(spans))

    def methods(self) -> tuple[str, ...]:
        """Return the mentions."""
        return ("mentions",)

    def save(self, folder: Path) -> None:
        """Write lookup.json."""
        share = dict(zip(self.labels, (float(each) for each in self.share), strict=True))
        facts = {"only_codable": self.only_codable, "labels": share, "meant": self.meant}
        write_json(folder / "lookup.json", facts)


def _counted(text: str, only_codable: bool) -> list[Mention]:
    return [each for each in mentions(text) if each.codable or not only_codable]


def _spoken(text: str, only_codable: bool) -> dict[str, float]:
    """Return label -> best score of the mentions that count."""
    best: dict[str, float] = {}
    for mention in _counted(text, only_codable):
        best[mention.code.label] = max(best.get(mention.code.label, 0.0), mention.score)
    return best


class Lookup(Family[LookupOptions]):
    """The words of a note against the texts of the code tables."""

    name = "lookup"
    title = "Lookup in the code tables"
    summary = (
        "Looks up a note's phrases in ICD-10-CM, without training; a training set teaches what its coders make of them."
    )
    items = frozenset({"text"})
    answers = frozenset({"many"})
    for_codes = True
    Options = LookupOptions

    def fit(self, train: Examples, validation: Examples, options: LookupOptions, fitting: Fitting) -> LookupModel:
        """Count, for every code that a phrase means by the tables, which labels the texts that say it carry.

        A count is drawn towards the tables by `trust` texts: what one text says is little.

        Raises:
            Stopped: When the user cancelled.
        """
        held: dict[str, Counter[str]] = {}
        said: Counter[str] = Counter()
        worth: dict[str, float] = {}
        for row, item in enumerate(train.items):
            if fitting.say.stopping:
                raise Stopped
            given = [train.labels[at] for at in np.flatnonzero(train.truth[row])]
            for code, score in _spoken(item, options.only_codable).items():
                said[code] += 1
                worth[code] = max(worth.get(code, 0.0), score)
                held.setdefault(code, Counter()).update(given)
            if row % 50 == 0:
                fitting.say("progress", step=row, steps=len(train))
        known = frozenset(train.labels)
        share = train.truth.mean(axis=0) if len(train) else np.zeros(len(train.labels))
        common = dict(zip(train.labels, share.tolist(), strict=True))
        meant = {
            code: _chances(code, counts, said[code], worth[code], common, known, options.trust)
            for code, counts in held.items()
        }
        return LookupModel(train.labels, share.astype(np.float32), meant, options.only_codable)

    def load(self, folder: Path, device: Device) -> LookupModel:
        """Rebuild the model. Raises MedbenchError when its file is missing or damaged."""
        try:
            facts = read_json(folder / "lookup.json")
            labels: dict[str, float] = facts["labels"]
            share = np.array(list(labels.values()), dtype=np.float32)
            return LookupModel(tuple(labels), share, facts["meant"], facts["only_codable"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MedbenchError(
                "the file of a lookup model", f"{type(error).__name__}: {error}", f"Train again; damaged: {folder}."
            ) from error

    def estimate(self, train: Examples, options: LookupOptions, device: Device) -> Estimate:
        """Estimate from the number of characters, with a constant measured on one core."""
        notes = () if any(_is_code(label) for label in train.labels) else ("No label of this dataset is an ICD code.",)
        return Estimate(seconds=5 + 2 * 1e-5 * sum(map(len, train.items)), memory=int(6e8), notes=notes)


def _is_code(label: str) -> bool:
    try:
        return parse(label)[0] == "icd10cm" and tables().get(label) is not None
    except MedbenchError:
        return False


def _chances(
    code: str,
    counts: Mapping[str, int],
    n: int,
    worth: float,
    common: Mapping[str, float],
    known: frozenset[str],
    trust: float,
) -> dict[str, float]:
    """Return label -> chance, for labels that texts with a phrase carry clearly more often than texts do."""
    prior = {code: worth} if code in known else {}
    chances = {}
    for label in {*counts, *prior}:
        expected = common[label]
        chance = (counts.get(label, 0) + trust * prior.get(label, expected)) / (n + trust)
        # What the label's share explains already is no evidence: only the excess counts.
        excess = (chance - expected) / (1 - expected) if expected < 1 else 1.0
        if excess > 0.05:
            chances[label] = round(excess, 4)
    return chances


FAMILY = Lookup()


def untrained() -> LookupModel:
    """Return the model that answers on a fresh install: every billable code of ICD-10-CM, nothing learnt."""
    labels = tuple(tables().labels("icd10cm", billable_only=True))
    return LookupModel(labels, np.zeros(len(labels), dtype=np.float32), {})
