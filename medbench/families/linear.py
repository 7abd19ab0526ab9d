"""TF-IDF of words and word groups, one linear classifier per label: the strong baseline, trained in seconds.

Files in a model's folder, all written by `LinearModel.save`:

    vocabulary.json   the terms in column order and how texts are cut into words
    weights.npz       idf, weights (half precision), intercepts, the projection of `embed`
    linear.json       labels, answer, loss, share of each label in the training data
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.attribution import explained
from medbench.errors import MedbenchError
from medbench.families import CHEAP_FITS, Estimate, Family, FamilyOptions, Fitting, Model
from medbench.families._linear_fit import (
    SLOPE,
    Floats,
    count_terms,
    fit_labels,
    latent_axes,
    learn_vocabulary,
    least_explained,
    terms_allowed,
)
from medbench.families._ngrams import SLICE, Ngrams, spread_over_words, squashed, tfidf
from medbench.records import AnswerKind, Device, Examples, Explanation, Scores
from medbench.workspace import read_json, replacing, write_json

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_KEPT_SLICES = 8
_EMBEDDED_TERMS = 20_000


class LinearOptions(FamilyOptions):
    """Options of `linear`."""

    loss: Literal["svm", "logistic"] = Field("svm", description="svm (squared hinge) or logistic regression.")
    C: float = Field(0.5, gt=0, le=1e4, description="How closely to follow the training data; smaller is smoother.")
    class_weight: Literal["none", "balanced", "half"] = Field(
        "none", description="Weight of positive items: none, balanced (by rarity) or half (its square root)."
    )
    emphasis: bool = Field(
        True, description="Emphasise, for each label, the terms that tell it apart in the training data (log-odds)."
    )
    skip_function_words: bool = Field(
        True, description="Pass over English function words (of, the, with); negations are kept."
    )
    words: int = Field(2, ge=1, le=3, description="Longest group of words that counts as a term, in words.")
    min_texts: int = Field(2, ge=1, description="A term must stand in at least this many training texts.")
    max_features: int = Field(150_000, ge=100, le=2_000_000, description="At most this many terms are kept.")
    pieces: bool = Field(False, description="Also count pieces of words, 3 to 5 letters: robust to spelling, slower.")
    title_weight: float = Field(
        3.0, ge=1, le=10, description="How often a word of the title counts.", json_schema_extra={"expert": True}
    )
    dimensions: int = Field(
        64,
        ge=2,
        le=256,
        description="Length of the vectors used for similar items, in numbers.",
        json_schema_extra={"expert": True},
    )


@dataclass
class LinearModel(Model):
    """A fitted linear model.

    Attributes:
        labels: L label names.
        answer: "one" or "many".
        loss: "svm" or "logistic".
        ngrams: The vocabulary, F columns.
        idf: (F,) float32.
        weights: (F, L) float32 that half precision holds exactly.
        intercepts: (L,) float32.
        prior: (L,) float32, each label's share in the training data: the answer to a text without a known term.
        projection: (p, d) float32, the latent semantic axes over the columns in `projected`.
        projected: (p,) int64 columns, those that stand in most texts.
        explained: How much of a training text the axes explain at least, but for the strangest tenth; see `embed`.
    """

    labels: tuple[str, ...]
    answer: AnswerKind
    loss: Literal["svm", "logistic"]
    ngrams: Ngrams
    idf: Floats
    weights: Floats
    intercepts: Floats
    prior: Floats
    projection: Floats
    projected: npt.NDArray[np.int64]
    explained: float

    def __post_init__(self) -> None:
        self._kept: OrderedDict[int, tuple[list[str], csr_matrix, Floats]] = OrderedDict()

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) float32 scores; a text without a known term gets the labels' shares in the training data."""
        scores = np.empty((len(items), len(self.labels)), dtype=np.float32)
        for begin in range(0, len(items), SLICE):
            table, _ = self._table(items[begin : begin + SLICE])
            part = squashed(table @ self.weights + self.intercepts, self.answer, SLOPE[self.loss])
            part[np.diff(table.indptr) == 0] = self.prior
            scores[begin : begin + SLICE] = part
        return scores

    def _table(self, texts: Sequence[str]) -> tuple[csr_matrix, Floats]:
        """Return the TF-IDF rows of a slice and each text's share of known words, (n,).

        `scores` and `embed` of the same slice share the work.
        """
        texts = list(texts)
        key = hash(tuple(texts))
        kept = self._kept.get(key)
        if kept is not None and kept[0] == texts:
            return kept[1], kept[2]
        counts, known = self.ngrams.counts_and_known(texts)
        table = tfidf(counts, self.idf)
        self._kept[key] = (texts, table, known)
        while len(self._kept) > _KEPT_SLICES:
            self._kept.popitem(last=False)
        return table, known

    def embed(self, items: Sequence[str]) -> Floats:
        """Return (n, d + 1) float32 latent semantic vectors of length 1; 0 for a text without a known term.

        The last number is 0 for texts like the training texts. It grows when the axes explain less of a text than of
        nine in ten training texts, for want of known words or of words that belong together: a text about something
        else then points away from everything.
        """
        vectors = np.zeros((len(items), self.projection.shape[1] + 1), dtype=np.float32)
        for begin in range(0, len(items), SLICE):
            table, known = self._table(items[begin : begin + SLICE])
            part = table[:, self.projected] @ self.projection
            norm = np.linalg.norm(part, axis=1)
            strange = np.maximum(self.explained / np.maximum(norm * known, 1e-6) - 1, 0)
            part = np.column_stack([part / np.maximum(norm, 1e-12)[:, None], strange])
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
            vectors[begin : begin + SLICE] = np.where(norm[:, None] > 1e-12, part, 0)
        return vectors

    def reasons(self, item: str, label: str) -> Explanation:
        """Mark words with their exact share of the label's margin: weight times TF-IDF of every term they stand in.

        For answer "one" the margin is the label's less the mean of all labels. The shares of all words add up to the
        margin without its intercept; the 40 strongest are returned, neighbours joined when a term spans them.
        """
        at = self.labels.index(label)
        weights = self.weights[:, at] - (self.weights.mean(axis=1) if self.answer == "one" else 0)
        table, _ = self._table([item])
        worth = dict(zip(table.indices.tolist(), (table.data * weights[table.indices]).tolist(), strict=True))
        places = [place for place in self.ngrams.places(item) + self.ngrams.piece_places(item) if place[2] in worth]
        spans = spread_over_words(item, places, worth)
        return explained(partial(self.label_scores, label=label), item, label, "weight × TF-IDF", spans)

    def methods(self) -> tuple[str, ...]:
        """Return the exact contributions."""
        return ("contributions",)

    def save(self, folder: Path) -> None:
        """Write vocabulary.json, weights.npz and linear.json."""
        write_json(folder / "vocabulary.json", self.ngrams.as_json())
        with replacing(folder / "weights.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                idf=self.idf,
                weights=self.weights.astype(np.float16),
                intercepts=self.intercepts,
                prior=self.prior,
                projection=self.projection.astype(np.float16),
                projected=self.projected,
                explained=np.float32(self.explained),
            )
        write_json(folder / "linear.json", {"labels": list(self.labels), "answer": self.answer, "loss": self.loss})


class Linear(Family[LinearOptions]):
    """TF-IDF and one linear classifier per label."""

    name = "linear"
    title = "Linear (TF-IDF)"
    summary = "Counts words and word pairs; trains in seconds and is hard to beat on a few thousand abstracts."
    items = frozenset({"text"})
    answers = frozenset({"one", "many"})
    cheap = True
    Options = LinearOptions
    space: ClassVar[Mapping[str, Any]] = {
        "loss": True,
        "C": (0.02, 8.0, "log"),
        "class_weight": True,
        "emphasis": True,
        "words": (1, 3),
        "pieces": True,
    }

    def fit(self, train: Examples, validation: Examples, options: LinearOptions, fitting: Fitting) -> LinearModel:
        """Choose the terms, weigh them, and fit one classifier per label. `validation` is not looked at.

        Raises:
            MedbenchError: When there is nothing to learn from.
            Stopped: When the user cancelled; a half-trained set of labels is of no use.
        """
        ngrams = learn_vocabulary(train, options)
        counted, known = count_terms(ngrams, train.items)
        in_texts = np.bincount(counted.indices, minlength=len(ngrams))
        idf = (np.log((1 + len(train)) / (1 + in_texts)) + 1).astype(np.float32)
        table = tfidf(counted, idf)
        weights, intercepts = fit_labels(table, train, options, fitting)
        projected = np.sort(np.argsort(-in_texts, kind="stable")[:_EMBEDDED_TERMS])
        projection = latent_axes(table[:, projected], options.dimensions, fitting.rng)
        explained = least_explained(table[:, projected], known, options.dimensions, fitting.rng)
        share = train.truth.mean(axis=0) if train.answer == "one" else (train.truth.sum(0) + 0.5) / (len(train) + 1)
        return LinearModel(
            train.labels,
            train.answer,
            options.loss,
            ngrams,
            idf,
            weights,
            intercepts,
            share.astype(np.float32),
            projection,
            projected,
            explained,
        )

    def load(self, folder: Path, device: Device) -> LinearModel:
        """Rebuild the model. Raises MedbenchError when a file is missing or damaged."""
        try:
            facts, vocabulary = read_json(folder / "linear.json"), read_json(folder / "vocabulary.json")
            with np.load(folder / "weights.npz", allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return LinearModel(
                tuple(facts["labels"]),
                facts["answer"],
                facts["loss"],
                Ngrams(**vocabulary),
                weights=arrays.pop("weights").astype(np.float32),
                projection=arrays.pop("projection").astype(np.float32),
                explained=float(arrays.pop("explained")),
                **arrays,
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MedbenchError(
                "the files of a linear model", f"{type(error).__name__}: {error}", f"Train again; damaged: {folder}."
            ) from error

    def estimate(self, train: Examples, options: LinearOptions, device: Device) -> Estimate:
        """Estimate from the number of words and labels, with constants measured on two cores."""
        words = sum(text.count(" ") + 1 for text in train.items)
        longer = (1 + 0.9 * (options.words - 1)) * (4 if options.pieces else 1)
        seconds = words * longer * (1.2e-6 + 4e-8 * len(train.labels)) + 1
        features = min(terms_allowed(options, len(train.labels)), int(words * longer * 0.1) + 1)
        disk = features * (2 * len(train.labels) + 20) + _EMBEDDED_TERMS * options.dimensions * 2
        notes: tuple[str, ...] = ()
        if terms_allowed(options, len(train.labels)) < options.max_features:
            notes = (f"With {len(train.labels):,} labels the {features:,} most common terms are kept, to fit memory.",)
        seconds *= CHEAP_FITS
        return Estimate(seconds=seconds, memory=int(3e8 + 60 * words * longer), disk=int(disk), notes=notes)


FAMILY = Linear()
