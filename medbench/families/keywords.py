"""A lexicon learnt from the data: a few telling terms per label, each with a weight that a person can read and edit.

Files in a model's folder, both written by `KeywordModel.save`:

    lexicon.json     labels, answer and, per label, its share in the training data, slope, bias and {term: weight}
    projection.npz   the random projection of `embed`, (terms, d), half precision
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.attribution import explained
from medbench.calibration import logistic
from medbench.calibrators import fit_lines
from medbench.errors import MedbenchError, Stopped
from medbench.families import CHEAP_FITS, Estimate, Family, FamilyOptions, Fitting, Model
from medbench.families._ngrams import SLICE, WORD, Ngrams, spread_over_words, squashed
from medbench.families._telling_terms import counted_terms, log_odds, presence
from medbench.records import AnswerKind, Device, Examples, Explanation, Scores, Truth
from medbench.workspace import read_json, replacing, write_json

Floats = npt.NDArray[np.float32]
Lexicon = dict[str, dict[str, float]]
_DIMENSIONS = 64


class KeywordOptions(FamilyOptions):
    """Options of `keywords`."""

    terms: int = Field(60, ge=1, le=2000, description="Terms to learn per label.")
    words: int = Field(2, ge=1, le=3, description="Longest term, in words.")
    min_texts: int = Field(3, ge=1, description="A term must stand in at least this many training texts.")
    learn: bool = Field(True, description="Learn terms from the data; off to use only the lexicon below.")
    lexicon: Lexicon = Field(
        default_factory=dict,
        description="Your own terms, label → {term: weight}: added to the learnt ones and stronger than them; "
        "weight 0 removes a term, a negative weight speaks against the label.",
        json_schema_extra={"empty": '{"C14": {"heart failure": 2}}'},
    )


@dataclass
class KeywordModel(Model):
    """A fitted lexicon.

    Attributes:
        labels: L label names.
        answer: "one" or "many".
        lexicon: label -> {term: weight}; terms in lower case, words joined by single spaces.
        slope: (L,) float32 and
        bias: (L,) float32: the score is logistic(slope x sum of the weights of the terms present + bias).
        prior: (L,) float32, each label's share in the training data: the answer to a text without words.
        projection: (terms, d) float32 for `embed`, rows in the order of the lexicon's distinct terms.
    """

    labels: tuple[str, ...]
    answer: AnswerKind
    lexicon: Lexicon
    slope: Floats
    bias: Floats
    prior: Floats
    projection: Floats

    def __post_init__(self) -> None:
        terms = distinct_terms(self.lexicon)
        column = {term: at for at, term in enumerate(terms)}
        self._ngrams = Ngrams(terms)
        self._weights = np.zeros((len(terms), len(self.labels)), dtype=np.float32)
        for at, label in enumerate(self.labels):
            for term, weight in self.lexicon.get(label, {}).items():
                self._weights[column[term], at] = weight

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) float32 scores."""
        scores = np.empty((len(items), len(self.labels)), dtype=np.float32)
        for begin in range(0, len(items), SLICE):
            texts = items[begin : begin + SLICE]
            margins = (presence(self._ngrams, texts) @ self._weights) * self.slope + self.bias
            part = squashed(margins, self.answer, 1.0)
            part[[re.search(WORD, text) is None for text in texts]] = self.prior
            scores[begin : begin + SLICE] = part
        return scores

    def embed(self, items: Sequence[str]) -> Floats:
        """Return (n, d) float32 projections of the terms present, length 1; 0 for a text without a term."""
        vectors = np.zeros((len(items), self.projection.shape[1]), dtype=np.float32)
        for begin in range(0, len(items), SLICE):
            part = presence(self._ngrams, items[begin : begin + SLICE]) @ self.projection
            norm = np.linalg.norm(part, axis=1, keepdims=True)
            vectors[begin : begin + SLICE] = np.divide(part, norm, out=np.zeros_like(part), where=norm > 1e-12)
        return vectors

    def reasons(self, item: str, label: str) -> Explanation:
        """Mark the label's terms with what they add to its margin; a term's places share its weight."""
        at = self.labels.index(label)
        weights = self._weights[:, at] * self.slope[at]
        places = [place for place in self._ngrams.places(item) if weights[place[2]]]
        worth = {column: float(weights[column]) for _, _, column in places}
        spans = spread_over_words(item, places, worth)
        return explained(partial(self.label_scores, label=label), item, label, "keywords", spans)

    def methods(self) -> tuple[str, ...]:
        """Return its words."""
        return ("keywords",)

    def save(self, folder: Path) -> None:
        """Write projection.npz and lexicon.json."""
        with replacing(folder / "projection.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, projection=self.projection.astype(np.float16))
        rows = zip(self.labels, self.prior.tolist(), self.slope.tolist(), self.bias.tolist(), strict=True)
        entries = {
            label: {"share": share, "slope": slope, "bias": bias, "terms": self.lexicon.get(label, {})}
            for label, share, slope, bias in rows
        }
        write_json(folder / "lexicon.json", {"answer": self.answer, "labels": entries})


def distinct_terms(lexicon: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return every term of the lexicon once, in alphabetical order: the rows of the projection."""
    return sorted({term for terms in lexicon.values() for term in terms})


class Keywords(Family[KeywordOptions]):
    """Terms that tell the labels apart, with weights a person can edit."""

    name = "keywords"
    title = "Keywords"
    summary = "Learns a short list of telling terms per label that you can read and edit; takes a second."
    items = frozenset({"text"})
    answers = frozenset({"one", "many"})
    cheap = True
    Options = KeywordOptions

    def fit(self, train: Examples, validation: Examples, options: KeywordOptions, fitting: Fitting) -> KeywordModel:
        """Learn the lexicon, put the user's own terms over it, and fit one slope and bias per label.

        Raises:
            MedbenchError: When the user's lexicon names an unknown label or holds a term without letters.
            Stopped: When the user cancelled.
        """
        own = checked_lexicon(options.lexicon, train.labels)
        lexicon = _learnt(train, options, fitting) if options.learn else {label: {} for label in train.labels}
        for label, entries in own.items():
            lexicon[label] = {term: weight for term, weight in (lexicon[label] | entries).items() if weight}
        if fitting.say.stopping:
            raise Stopped
        ones = np.ones(len(train.labels), dtype=np.float32)
        share = train.truth.mean(axis=0) if train.answer == "one" else (train.truth.sum(0) + 0.5) / (len(train) + 1)
        terms = distinct_terms(lexicon)
        axes = fitting.rng.standard_normal((len(terms), _DIMENSIONS)) / math.sqrt(_DIMENSIONS)
        projection = axes.astype(np.float16).astype(np.float32)
        draft = KeywordModel(train.labels, "many", lexicon, ones, 0 * ones, share.astype(np.float32), projection)
        slope, bias = _fitted_lines(draft, train)
        return KeywordModel(train.labels, train.answer, lexicon, slope, bias, draft.prior, projection)

    def load(self, folder: Path, device: Device) -> KeywordModel:
        """Rebuild the model. Raises MedbenchError when a file is missing or damaged."""
        try:
            facts = read_json(folder / "lexicon.json")
            with np.load(folder / "projection.npz", allow_pickle=False) as file:
                projection = file["projection"].astype(np.float32)
            entries = facts["labels"]
            slope, bias, share = (
                np.array([entry[name] for entry in entries.values()], dtype=np.float32)
                for name in ("slope", "bias", "share")
            )
            lexicon: Lexicon = {label: entry["terms"] for label, entry in entries.items()}
            if len(projection) != len(distinct_terms(lexicon)):
                raise ValueError("the lexicon was edited by hand; give the edited terms to a new run as `lexicon`")
            return KeywordModel(tuple(entries), facts["answer"], lexicon, slope, bias, share, projection)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MedbenchError(
                "the files of a keyword model", f"{type(error).__name__}: {error}", f"Train again; damaged: {folder}."
            ) from error

    def estimate(self, train: Examples, options: KeywordOptions, device: Device) -> Estimate:
        """Estimate from the number of words, with constants measured on two cores."""
        words = sum(text.count(" ") + 1 for text in train.items)
        disk = len(train.labels) * options.terms * (40 + 2 * _DIMENSIONS)
        return Estimate(
            seconds=CHEAP_FITS * (1 + 2e-6 * words * options.words), memory=int(3e8 + 60 * words), disk=disk
        )


def checked_lexicon(lexicon: Mapping[str, Mapping[str, float]], labels: Sequence[str]) -> Lexicon:
    """Return the lexicon with terms in their one spelling (lower case, single spaces).

    Raises:
        MedbenchError: When it names a label that is not in `labels`, or a term without letters or digits.
    """
    unknown = [label for label in lexicon if label not in labels]
    if unknown:
        raise MedbenchError(
            f"labels of the dataset in the lexicon ({', '.join(labels)})",
            ", ".join(map(repr, unknown)),
            "Correct the label names in the lexicon.",
        )
    checked: Lexicon = {}
    for label, terms in lexicon.items():
        checked[label] = {}
        for term, weight in terms.items():
            spelled = " ".join(re.findall(WORD, term.lower()))
            if not spelled or not math.isfinite(weight):
                raise MedbenchError(
                    "terms with letters and finite weights", f"{term!r}: {weight}", f"Correct the lexicon of {label!r}."
                )
            checked[label][spelled] = float(weight)
    return checked


def _learnt(train: Examples, options: KeywordOptions, fitting: Fitting) -> Lexicon:
    terms, table = counted_terms(train.items, options.words, options.min_texts)
    lexicon: Lexicon = {}
    everywhere = np.asarray(table.sum(axis=0), dtype=np.float64).ravel()
    within = np.asarray(table.T @ train.truth.astype(np.float32), dtype=np.float64)
    for at, label in enumerate(train.labels):
        weight, certainty = log_odds(within[:, at], everywhere, train.truth[:, at])
        best = np.argsort(-certainty, kind="stable")[: options.terms]
        # 1.96: a term counts when chance alone would not explain it.
        lexicon[label] = {terms[t]: round(float(weight[t]), 4) for t in best if certainty[t] > 1.96}
        fitting.say("progress", step=at + 1, steps=len(train.labels), label=label)
    return lexicon


def _fitted_lines(draft: KeywordModel, train: Examples) -> tuple[Floats, Floats]:
    """Return slope and bias per label: a logistic regression on the summed weights."""
    sums = np.concatenate(
        [
            presence(draft._ngrams, train.items[begin : begin + SLICE]) @ draft._weights
            for begin in range(0, len(train), SLICE)
        ]
    )
    scale = np.maximum(np.abs(sums).max(axis=0, initial=0), 1.0) / 10  # keeps the logit inside its clipping
    truth: Truth = train.truth
    lines = fit_lines(logistic(sums / scale).astype(np.float64), truth, np.zeros(len(train.labels), dtype=bool))
    return (lines.slope / scale).astype(np.float32), lines.intercept.astype(np.float32)


FAMILY = Keywords()
