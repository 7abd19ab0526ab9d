"""Phrases, words and frequencies ranked together: for many labels that the words of a text spell out, such as codes.

Three witnesses speak for a (text, label) pair: phrases that annotators marked for the label, or that texts of the label
share (`_phrases`); all words of the text together (`_semantic`); and how frequent the label is. A logistic regression
over all pairs, the same for every label, weighs them: a label seen once profits from what was learnt on the others.

Files in a model's folder, all written by `CoderModel.save`:

    vocabulary.json   terms of the latent semantic axes
    coder.npz         phrases with their counts, axes and ridge weights (half precision), label shares, ranker
    coder.json        labels, answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.attribution import explained
from medbench.errors import MedbenchError, Stopped
from medbench.families import CHEAP_FITS, Estimate, Family, FamilyOptions, Fitting, Model
from medbench.families import _semantic as semantic
from medbench.families._ngrams import Ngrams, spread_over_words, squashed
from medbench.families._phrases import (
    SIGNALS,
    Grams,
    Phrases,
    Told,
    Word,
    grams_of,
    learn,
    phrases_from,
    sentences_of,
)
from medbench.records import AnswerKind, Device, Examples, Explanation, Scores, Span
from medbench.workspace import read_json, replacing, write_json

Floats = npt.NDArray[np.float32]
_FAINT = 0.003
_NEAREST = 150
_RANKED_TEXTS = 2_000
_PARTS = 5
_SPANS = 20
_N_SIGNALS = len(SIGNALS) + 2


class CoderOptions(FamilyOptions):
    """Options of `coder`."""

    terms: int = Field(8_000, ge=100, le=200_000, description="At most this many words and word pairs are counted.")
    dimensions: int = Field(192, ge=2, le=1_024, description="Number of latent semantic axes of the word model.")
    C: float = Field(
        1.0,
        gt=0,
        le=1e4,
        description="How closely the ranker follows the training data; smaller is smoother.",
        json_schema_extra={"expert": True},
    )


@dataclass
class CoderModel(Model):
    """A fitted coder.

    Attributes:
        labels: L label names.
        answer: "one" or "many".
        phrases: What phrases say.
        words: What all words together say.
        share: (L,) float32, smoothed share of training texts with the label.
        ranker: (9,) float32: the weights of the six signals of phrases, of the words' share and of the label's share
            (see `_levelled`), and the intercept.
    """

    labels: tuple[str, ...]
    answer: AnswerKind
    phrases: Phrases
    words: semantic.Semantic
    share: Floats
    ranker: Floats

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) float32: the ranker's probability of every pair."""
        expected = self.words.shares(self.words.vectors(items))
        silent = _levelled(np.zeros((1, len(SIGNALS)), dtype=np.float32))[0]
        margins = _odds(expected) * self.ranker[-3] + np.log(self.share) * self.ranker[-2] + self.ranker[-1]
        quiet = silent @ self.ranker[: len(SIGNALS)]
        margins += quiet
        for row, item in enumerate(items):
            columns, signals = self.phrases.signals(grams_of(sentences_of(item)))
            if columns:
                margins[row, columns] += _levelled(signals) @ self.ranker[: len(SIGNALS)] - quiet
        never = ~self.words.weights.any(axis=0)  # no training text has it: nothing speaks for it but its smoothed share
        margins[:, never] = np.log(self.share[never] / (1 - self.share[never]))
        return squashed(margins.astype(np.float32), self.answer, 1.0)

    def embed(self, items: Sequence[str]) -> Floats:
        """Return (n, d + 1) float32 vectors of length 1: places on the axes, and what the axes leave unexplained."""
        places = self.words.vectors(items)
        rest = np.sqrt(np.maximum(1 - (places**2).sum(axis=1), 0))
        vectors = np.column_stack([places, rest])
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)

    def reasons(self, item: str, label: str) -> Explanation:
        """Mark the phrases that speak for `label`, the strongest first where they overlap; else the telling words.

        A phrase weighs the share of the training texts with it in which it was evidence for the label.
        """
        at = self.labels.index(label)
        sentences = sentences_of(item)
        grams = grams_of(sentences)
        spans: list[Span] = []
        for share, gram in self.phrases.speaking(grams, at):
            for row, first, end in grams[gram]:
                begin, stop = sentences[row][first][1], sentences[row][end - 1][2]
                if all(stop <= other.start or begin >= other.end for other in spans) and len(spans) < _SPANS:
                    spans.append(Span(begin, stop, share))
        method = "phrases known for the label"
        found = tuple(sorted(spans, key=lambda span: span.start))
        if not found:
            method, found = "weight × TF-IDF", self._words(item, at)
        return explained(partial(self.label_scores, label=label), item, label, method, found)

    def methods(self) -> tuple[str, ...]:
        """Return its phrases."""
        return ("phrases",)

    def _words(self, item: str, at: int) -> tuple[Span, ...]:
        table, weights = self.words.table(item), self.words.word_weights(at)
        worth = dict(zip(table.indices.tolist(), (table.data * weights[table.indices]).tolist(), strict=True))
        places = [place for place in self.words.ngrams.places(item) if place[2] in worth]
        return spread_over_words(item, places, worth)

    def save(self, folder: Path) -> None:
        """Write the model."""
        write_json(folder / "vocabulary.json", self.words.ngrams.as_json())
        arrays = {
            **{f"phrases.{name}": values for name, values in self.phrases.arrays().items()},
            **{f"words.{name}": values for name, values in self.words.arrays().items()},
            "share": self.share,
            "ranker": self.ranker,
        }
        with replacing(folder / "coder.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        write_json(folder / "coder.json", {"labels": self.labels, "answer": self.answer})


def _odds(share: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return log-odds of shares kept inside [0.003, 0.997]."""
    kept = np.clip(share, 0, 1).astype(np.float32)
    return np.asarray(np.log((kept + _FAINT) / (1 + _FAINT - kept)), dtype=np.float32)


def _levelled(signals: Floats) -> Floats:
    """Return the signals as the ranker adds them up: log-odds of shares, logarithms of counts."""
    levelled = np.log1p(signals)
    levelled[:, [0, 1, 3]] = _odds(signals[:, [0, 1, 3]])
    levelled[:, 4] = signals[:, 4]
    return levelled


class Coder(Family[CoderOptions]):
    """Phrases, words and label frequencies, ranked together."""

    name = "coder"
    title = "Coder (phrases and words)"
    summary = "Learns which phrases speak for which code; best with marked evidence, thousands of labels in minutes."
    items = frozenset({"text"})
    answers = frozenset({"one", "many"})
    cheap = True
    for_codes = True
    Options = CoderOptions

    def fit(self, train: Examples, validation: Examples, options: CoderOptions, fitting: Fitting) -> CoderModel:
        """Learn phrases, axes and the ranker. `validation` is not looked at.

        Raises:
            MedbenchError: When there is nothing to learn from.
            Stopped: When the user cancelled.
        """
        if not any(item.strip() for item in train.items):
            raise MedbenchError("training texts with words", f"{len(train)} blank ones", "Check the text column.")
        say = fitting.say
        say("progress", step=0, steps=3, sentence="Reading phrases.")
        sentences = [sentences_of(item) for item in train.items]
        grams = [grams_of(one) for one in sentences]
        phrases, told = learn(train, grams, sentences)
        if say.stopping:
            raise Stopped
        say("progress", step=1, steps=3, sentence="Weighing words.")
        words = semantic.fit(train.items, train.truth, options.terms, options.dimensions, fitting.rng)
        if say.stopping:
            raise Stopped
        say("progress", step=2, steps=3, sentence="Training the ranker.")
        share = ((train.truth.sum(axis=0) + 0.5) / (len(train) + 1)).astype(np.float32)
        seen = Reading(train, grams, sentences, phrases, told)
        pairs = [part for held in _parts(train, fitting.rng) for part in _held_pairs(seen, held, options, fitting)]
        ranker = _ranker(np.concatenate([one for one, _ in pairs]), np.concatenate([one for _, one in pairs]), options)
        say("progress", step=3, steps=3, sentence="Done.")
        return CoderModel(train.labels, train.answer, phrases, words, share, ranker)

    def load(self, folder: Path, device: Device) -> CoderModel:
        """Rebuild the model. Raises MedbenchError when a file is missing or damaged."""
        try:
            facts, vocabulary = read_json(folder / "coder.json"), read_json(folder / "vocabulary.json")
            with np.load(folder / "coder.npz", allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            phrases, words = (
                {name.removeprefix(head): values for name, values in arrays.items() if name.startswith(head)}
                for head in ("phrases.", "words.")
            )
            return CoderModel(
                tuple(facts["labels"]),
                facts["answer"],
                phrases_from(phrases),
                semantic.Semantic(
                    Ngrams(**vocabulary),
                    words["idf"],
                    words["axes"].astype(np.float32),
                    words["weights"].astype(np.float32),
                ),
                arrays["share"],
                arrays["ranker"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MedbenchError(
                "the files of a coder model", f"{type(error).__name__}: {error}", f"Train again; damaged: {folder}."
            ) from error

    def estimate(self, train: Examples, options: CoderOptions, device: Device) -> Estimate:
        """Estimate from the number of words and pairs, with constants measured on two cores."""
        words = sum(text.count(" ") + 1 for text in train.items)
        seconds = CHEAP_FITS * (3e-5 * words + 3e-3 * min(len(train), _RANKED_TEXTS) + 2)
        memory = int(4e8 + 900 * words + 12 * len(train) * len(train.labels))
        disk = 2 * options.dimensions * (options.terms + len(train.labels)) + 12 * words
        notes = () if any(train.marks) else ("Nobody marked evidence in these texts: it learns from labels alone.",)
        return Estimate(seconds=seconds, memory=memory, disk=int(disk), notes=notes)


@dataclass(frozen=True)
class Reading:
    """A training set as the coder has read it: its phrases, its sentences, the table and what each text told it."""

    train: Examples
    grams: Sequence[Grams]
    sentences: Sequence[list[list[Word]]]
    phrases: Phrases
    told: Sequence[Told]


def _parts(train: Examples, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Return the training texts in up to five parts; each is read by models of the others."""
    return [part for part in np.array_split(rng.permutation(len(train)), _PARTS) if len(part)]


def _held_pairs(
    seen: Reading, held: npt.NDArray[np.int64], options: CoderOptions, fitting: Fitting
) -> list[tuple[Floats, npt.NDArray[np.bool_]]]:
    """Return the pairs of some texts as a model sees them that has not learnt from these texts.

    The word model is fitted without them. Marked phrases need not be: taking a text's own counts out is the same. Where
    labels alone say what a phrase speaks for, a text takes part in choosing the phrases, and they are learnt anew.
    """
    if fitting.say.stopping:
        raise Stopped
    train = seen.train
    rest = np.setdiff1d(np.arange(len(train)), held)
    rest = rest if len(rest) else held
    read = held[: max(1, _RANKED_TEXTS // _PARTS)]
    words = semantic.fit(
        [train.items[row] for row in rest], train.truth[rest], options.terms, options.dimensions, fitting.rng
    )
    expected = words.shares(words.vectors([train.items[row] for row in read]))
    if any(train.marks):
        signals = [seen.phrases.signals(seen.grams[row], seen.told[row]) for row in read]
    else:
        table, _ = learn(train.take(rest), [seen.grams[row] for row in rest], [seen.sentences[row] for row in rest])
        signals = [table.signals(seen.grams[row]) for row in read]
    return [
        _pairs(said, expected[at], train, int(row)) for at, (said, row) in enumerate(zip(signals, read, strict=True))
    ]


def _pairs(
    told: tuple[list[int], Floats], expected: Floats, train: Examples, row: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the features (m, 8) and truth (m,) of one text's pairs: those phrases or words speak for.

    True pairs that neither speaks for are left out like the false ones: adding them alone would teach the ranker that
    silent witnesses mean a true pair. Labels that no other text has are left out: a label that is new to a model is not
    among its labels either.
    """
    columns, signals = told
    others = train.truth.sum(axis=0) - train.truth[row]
    nearest = np.argsort(-np.where(others > 0, expected, -np.inf), kind="stable")[:_NEAREST]
    chosen = np.union1d(columns, nearest).astype(np.int64)
    features = np.zeros((len(chosen), _N_SIGNALS), dtype=np.float32)
    features[np.searchsorted(chosen, columns), : len(SIGNALS)] = signals
    features[:, : len(SIGNALS)] = _levelled(features[:, : len(SIGNALS)])
    features[:, -2] = _odds(expected[chosen])
    features[:, -1] = np.log((others[chosen] + 0.5) / len(train))
    kept = others[chosen] > 0
    return features[kept], train.truth[row, chosen[kept]]


def _ranker(features: Floats, truth: npt.NDArray[np.bool_], options: CoderOptions) -> Floats:
    """Return (9,) float32 weights and intercept of a logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression

    if not truth.any() or truth.all():
        odds = float(np.log((truth.sum() + 0.5) / ((~truth).sum() + 0.5)))
        return np.array([*np.zeros(_N_SIGNALS), odds], dtype=np.float32)
    centre, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    fitted = LogisticRegression(C=options.C, max_iter=300).fit((features - centre) / scale, truth)
    weights = fitted.coef_[0] / scale
    return np.array([*weights, fitted.intercept_[0] - float(weights @ centre)], dtype=np.float32)


FAMILY = Coder()
