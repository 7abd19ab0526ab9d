"""A frozen sentence encoder with a small head: the base is not changed, only what is made of its vectors."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.attribution import explain
from medbench.errors import MedbenchError, Stopped
from medbench.families import Estimate, Family, FamilyOptions, Fitting, Model
from medbench.families import _embedding_cost as cost
from medbench.families._bases import MINILM, SUGGESTIONS, obtain, weights_sha256
from medbench.families._embedding_heads import Arrays, fit_head, margins
from medbench.families._networks import probabilities
from medbench.families._sentence_encoder import Reading, SentenceEncoder, sentence_encoder
from medbench.families._training_options import EXPERT
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores
from medbench.workspace import read_json, write_json

_CARD, _ARRAYS = "embedding.json", "head.npz"
_KNOWN = {"labels", "answer", "base_sha256", "reading", "head"}


class EmbeddingOptions(FamilyOptions):
    """Options of the frozen encoder with a head."""

    base: str = Field(
        MINILM,
        min_length=1,
        description="The sentence encoder: minilm, a hub name, or the path of a folder on this machine.",
        json_schema_extra={"suggestions": {**SUGGESTIONS}},
    )
    head: Literal["mlp", "svm", "logistic"] = Field(
        "mlp",
        description="What decides on the vectors: a small network (mlp), a linear support vector machine (svm) or "
        "logistic regression.",
    )
    C: float | None = Field(
        None,
        gt=0,
        le=1e4,
        description="Of svm and logistic: the data's weight against small weights (C); empty: usual.",
    )
    balance: float = Field(
        0.5, ge=0, le=1, description="How strongly rare labels are lifted: 0 not at all, 1 by their inverse frequency."
    )
    max_tokens: int = Field(
        256, ge=8, le=8192, description="Most tokens read at once; English medical text has about 1.5 tokens a word."
    )
    windows: int = Field(2, ge=1, le=64, description="Long texts are read in up to this many pieces, a count.")
    title: bool = Field(
        True, description="Read the first line, the title, once more on its own.", json_schema_extra=EXPERT
    )
    layers: Literal["several", "last"] = Field(
        "several",
        description="Whether vectors come from several layers of the base or the last.",
        json_schema_extra=EXPERT,
    )
    hidden: int = Field(256, ge=4, le=4096, description="Width of a small network, a count.", json_schema_extra=EXPERT)
    networks: int = Field(
        3, ge=1, le=16, description="Small networks whose answers are averaged, a count.", json_schema_extra=EXPERT
    )
    tokens_per_batch: int = Field(
        1024,
        ge=16,
        le=2**20,
        description="Most tokens in a batch, a count; a GPU gets 32 times as many.",
        json_schema_extra=EXPERT,
    )

    def reading(self) -> Reading:
        """Return how texts are turned into vectors."""
        return Reading(self.base, self.max_tokens, self.windows, self.title, self.layers, self.tokens_per_batch)


class EmbeddingModel(Model):
    """A frozen encoder and a fitted head."""

    def __init__(self, encoder: SentenceEncoder, card: dict[str, Any], arrays: Arrays) -> None:
        """Take the shared encoder, the card and the head's arrays."""
        self.labels: tuple[str, ...] = tuple(card["labels"])
        self.answer: AnswerKind = card["answer"]
        self._encoder, self._card, self._arrays = encoder, card, arrays

    def _score(self, vectors: npt.NDArray[np.float32]) -> Scores:
        found = margins(self._arrays, vectors)
        # Hinge margins of 1 are meant as sure: doubled, their sigmoid is .88. Calibration comes later.
        return probabilities(found * 2 if self._card["head"] == "svm" else found, self.answer)

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, n_labels) float32 scores in [0, 1]."""
        return self._score(self._encoder.encode(items))

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n, d) float32 sentence vectors of length 1: the mean of the last layer."""
        return self._encoder.encode(items)[:, : self._encoder.width]

    def cut(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n,) float32, the share of each text's words beyond the last window, 0-1."""
        return self._encoder.reader.cut(items, self._encoder.reading.windows)

    def reasons(self, item: str, label: str) -> Explanation:
        """Explain a label by leaving out sentences, then words; costs about 50 readings of the text.

        Raises:
            MedbenchError: The label is not one of the model's.
        """
        if label not in self.labels:
            raise MedbenchError("a label of this model", repr(label), f"Choose one of {', '.join(self.labels)}.")
        return explain(partial(self.label_scores, label=label), item, label)

    def label_scores(self, texts: Sequence[str], label: str) -> npt.NDArray[np.float32]:
        """Return (n,) scores of one label; the vectors are not remembered."""
        found: npt.NDArray[np.float32] = self._score(self._encoder.read(texts))[:, self.labels.index(label)]
        return found

    def save(self, folder: Path) -> None:
        """Write embedding.json and head.npz; the base is not copied, its checksum is kept."""
        halved = {
            name: part.astype(np.float16) if name == "inner_weight" else part for name, part in self._arrays.items()
        }
        np.savez_compressed(folder / _ARRAYS, allow_pickle=False, **halved)
        write_json(folder / _CARD, self._card)


class Embedding(Family[EmbeddingOptions]):
    """Frozen sentence encoders with a head."""

    name = "embedding"
    title = "Sentence vectors"
    summary = "A ready-made sentence encoder with a small head: choose it for few examples; it reads each text once."
    items: ClassVar[frozenset[ItemKind]] = frozenset({"text"})
    answers: ClassVar[frozenset[AnswerKind]] = frozenset({"one", "many"})
    cheap = True
    Options = EmbeddingOptions
    space: ClassVar[Mapping[str, Any]] = {"head": True, "balance": (0.0, 1.0), "windows": (1, 3)}

    def fit(self, train: Examples, validation: Examples, options: EmbeddingOptions, fitting: Fitting) -> EmbeddingModel:
        """Read every text (once per process) and fit the head; `validation` is not used.

        Raises:
            MedbenchError: When the base cannot be had or read.
            Stopped: When the user stopped it.
        """
        encoder = sentence_encoder(options.reading(), fitting.device.name)

        def told(done: int, rate: float) -> None:
            if fitting.say.stopping:
                raise Stopped
            eta = round((len(train) - done) / rate, 1)
            fitting.say("progress", step=done, steps=len(train), rate=round(rate, 1), eta=eta, unit="texts")

        vectors = encoder.encode(train.items, told)
        if fitting.say.stopping:
            raise Stopped
        arrays = fit_head(vectors, train.truth, train.answer, options, fitting.rng, fitting.say)
        card = {
            "version": 1,
            "labels": list(train.labels),
            "answer": train.answer,
            "base_sha256": weights_sha256(obtain(options.base)),
            "reading": encoder.reading._asdict(),
            "head": options.head,
        }
        return EmbeddingModel(encoder, card, arrays)

    def load(self, folder: Path, device: Device) -> EmbeddingModel:
        """Load a saved head and its base.

        Raises:
            MedbenchError: When a file is missing or damaged, or the base is not the one it was trained on.
        """
        card, arrays = _read_card(folder), _read_arrays(folder / _ARRAYS)
        base = obtain(card["reading"]["base"])
        if weights_sha256(base) != card["base_sha256"]:
            raise MedbenchError(
                f"the base {card['reading']['base']!r} with the weights this model was trained on",
                f"other weights in {base}",
                "Put the original base back, or train the model again on this one.",
            )
        return EmbeddingModel(sentence_encoder(Reading(**card["reading"]), device.name), card, arrays)

    def estimate(self, train: Examples, options: EmbeddingOptions, device: Device) -> Estimate:
        """Say what a fit would cost: reading every text once, then seconds for the head."""
        return cost.estimate(train, options, device)

    def remedy(self, error: BaseException, options: EmbeddingOptions) -> tuple[str, dict[str, Any]] | None:
        """Know two failures: out of memory, and a base that cannot be had."""
        return cost.remedy(error, options)


def _read_card(folder: Path) -> dict[str, Any]:
    if not (folder / _CARD).exists():
        raise _damaged(folder / _CARD, "no such file")
    card = read_json(folder / _CARD)
    if not set(card) >= _KNOWN or set(card["reading"]) != set(Reading._fields):
        raise _damaged(folder / _CARD, "one with other entries")
    return card


def _read_arrays(path: Path) -> Arrays:
    if not path.exists():
        raise _damaged(path, "no such file")
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name].astype(np.float32) for name in kept.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, f"a damaged file ({error})") from error


def _damaged(path: Path, found: str) -> MedbenchError:
    return MedbenchError(f"{path.name} of a saved model", found, f"Restore the folder {path.parent} or train again.")


FAMILY = Embedding()
