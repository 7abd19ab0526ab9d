"""A fine-tuned transformer encoder: the whole network, low-rank adapters (LoRA) on it, or its head alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.attribution import explain, explained
from medbench.errors import MedbenchError
from medbench.families import Estimate, Family, Fitting, Model
from medbench.families import _encoder_cost as cost
from medbench.families._adapters import save_adapter
from medbench.families._bases import MINILM, SUGGESTIONS
from medbench.families._text_batches import TextReader, VectorMemory
from medbench.families._training_options import EXPERT, AdapterOptions
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores, Span
from medbench.workspace import write_json

_CARD, _HEAD, _WEIGHTS = "encoder.json", "head.safetensors", "model.safetensors"
_MEMORY_BYTES = 16 * 2**20


class EncoderOptions(AdapterOptions):
    """Options of the fine-tuned encoder."""

    base: str = Field(
        MINILM,
        min_length=1,
        description="The encoder to start from: minilm, a hub name, or the path of a folder on this machine.",
        json_schema_extra={"suggestions": {**SUGGESTIONS}},
    )
    tuning: Literal["full", "lora", "frozen"] = Field(
        "lora",
        description="Train all weights (full), small adapters beside frozen ones (lora: less time and memory), "
        "or only the output layer (frozen).",
    )
    head: Literal["pooled", "label_attention"] = Field(
        "pooled",
        description="How tokens become answers: one vector of the whole text (pooled), or every label picks the words "
        "it needs (label_attention): for many labels and long texts.",
    )
    max_tokens: int = Field(
        256,
        ge=8,
        le=8192,
        description="Most tokens read of a text, or of each of its chunks; English medical text has about 1.5 a word.",
    )
    chunks: int = Field(
        1,
        ge=1,
        le=256,
        description="Most chunks of max_tokens that a long text is read in, a count; 1 reads its beginning only.",
    )
    pooling: Literal["mean", "cls"] = Field(
        "mean",
        description="How tokens become one vector: their mean, or the first token's of each chunk.",
        json_schema_extra=EXPERT,
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Share of values silenced while training, 0-1.", json_schema_extra=EXPERT
    )
    head_start: bool = Field(
        True,
        description="Fit the output layer on the unchanged base first, which costs one more reading of the texts.",
        json_schema_extra=EXPERT,
    )
    tokens_per_batch: int = Field(
        1024,
        ge=16,
        le=2**20,
        description="Most tokens in a batch when answering, a count; a GPU gets 32 times as many.",
        json_schema_extra=EXPERT,
    )


class EncoderModel(Model):
    """A fitted encoder with its head; adapters are merged into it."""

    def __init__(
        self, network: Any, reader: TextReader, card: dict[str, Any], device: str, adapter: Any = None
    ) -> None:
        """Take a text network in evaluation mode on `device`, its reader, its card and its unmerged adapter.

        The adapter is (tensors by name, peft configuration), or None for a fully tuned network or a frozen base.
        """
        self.labels: tuple[str, ...] = tuple(card["labels"])
        self.answer: AnswerKind = card["answer"]
        self._network, self._reader, self._card, self._device, self._adapter = network, reader, card, device, adapter
        self._memory = VectorMemory(_MEMORY_BYTES)
        self._lock = threading.Lock()

        self._width: int = network.head.in_features

    def _read(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n, d + n_labels): text vectors and logits of one reading."""
        from medbench.families._networks import read_texts

        ids, width = self._reader.chunks(texts, self._card["chunks"]), self._width + len(self.labels)
        batch = self._card["tokens_per_batch"]
        with self._lock:
            return read_texts(self._network.answers, width, ids, self._reader.pad_id, self._device, batch)

    def _remembered(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        return self._memory.get(items, self._width + len(self.labels), self._read)

    def _score(self, found: npt.NDArray[np.float32]) -> Scores:
        from medbench.families._networks import probabilities

        return probabilities(found[:, self._width :], self.answer)

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, n_labels) float32 scores in [0, 1]."""
        return self._score(self._remembered(items))

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n, d) float32 sentence vectors of length 1."""
        pooled = self._remembered(items)[:, : self._width]
        unit: npt.NDArray[np.float32] = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return unit

    def cut(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n,) float32, the share of each text's words beyond the `chunks` of `max_tokens`, 0-1."""
        return self._reader.cut(items, self._card["chunks"])

    def reasons(self, item: str, label: str) -> Explanation:
        """Explain a label: what it picked ("label attention", 10 readings), or by leaving words out (about 50).

        Raises:
            MedbenchError: The label is not one of the model's.
        """
        if label not in self.labels:
            raise MedbenchError("a label of this model", repr(label), f"Choose one of: {', '.join(self.labels)}.")
        score = partial(self.label_scores, label=label)
        if self._card["head"] != "label_attention":
            return explain(score, item, label)
        return explained(score, item, label, "label attention", self.marks(item, label, "label-attention"))

    def label_scores(self, texts: Sequence[str], label: str) -> npt.NDArray[np.float32]:
        """Return (n,) scores of one label; the readings are not remembered."""
        found: npt.NDArray[np.float32] = self._score(self._read(texts))[:, self.labels.index(label)]
        return found

    def handed_on(self) -> Any:
        """Return the tensors of the output layer."""
        return self._network.head.state_dict()

    def notes(self) -> tuple[str, ...]:
        """Return how it came about, where that is no fine-tuning."""
        return tuple(self._card.get("notes", ()))

    def methods(self) -> tuple[str, ...]:
        """Return what the label picked, where it picks; then leaving out, and two looks inside the network."""
        first = "label-attention" if self._card["head"] == "label_attention" else "occlusion"
        return (first, "integrated-gradients", "attention-rollout")

    def marks(self, item: str, label: str, method: str) -> tuple[Span, ...]:
        """Return the words that the label's attention, its gradients or the attention of all layers mark."""
        from medbench.families import _encoder_reasons as inside
        from medbench.families._label_attention import word_marks
        from medbench.families._networks import label_shares

        column, most = self.labels.index(label), self._card["chunks"]
        ids = self._reader.chunks([item], most)[0]
        asked = (self._network, ids, self._reader.pad_id, self._device, column)
        with self._lock:
            if method == "label-attention":
                return word_marks(item, self._reader.places(item, most), label_shares(*asked))
            if method == "integrated-gradients":
                shares = inside.integrated_gradients(*asked, self.answer, self._card["tokens_per_batch"])
            else:
                shares = inside.attention_rollout(*asked)
        return word_marks(item, self._reader.places(item, most), shares, most=None)

    def save(self, folder: Path) -> None:
        """Write encoder.json, head.safetensors and the adapter, or all weights with config.json.

        A base that is not MiniLM brings its tokenizer.json; a base under an adapter, or frozen, is not copied.
        """
        from safetensors.torch import save_file

        head = {name: part.detach().cpu().contiguous() for name, part in self._network.head.state_dict().items()}
        save_file(head, folder / _HEAD)
        if self._adapter is not None:
            save_adapter(self._adapter, folder)
        elif self._card["tuning"] == "full":
            state = self._network.backbone.state_dict()
            save_file({name: part.detach().cpu().contiguous() for name, part in state.items()}, folder / _WEIGHTS)
            write_json(folder / "config.json", json.loads(self._network.backbone.config.to_json_string()))
        if self._card["base"] != MINILM:
            (folder / "tokenizer.json").write_text(self._reader.definition, encoding="utf-8")
        write_json(folder / _CARD, self._card)


class Encoder(Family[EncoderOptions]):
    """Fine-tuned transformer encoders."""

    name = "encoder"
    title = "Fine-tuned encoder"
    summary = "A transformer that learns your labels: choose it when minutes to hours of training may buy accuracy."
    items: ClassVar[frozenset[ItemKind]] = frozenset({"text"})
    answers: ClassVar[frozenset[AnswerKind]] = frozenset({"one", "many"})
    Options = EncoderOptions
    space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": (1e-5, 3e-4, "log"),
        "imbalance": True,
        "dropout": (0.0, 0.3),
    }

    def fit(self, train: Examples, validation: Examples, options: EncoderOptions, fitting: Fitting) -> EncoderModel:
        """Fine-tune on `train`, keep what was best on `validation`; a stop keeps the best so far.

        Raises:
            MedbenchError: When the base cannot be had or read, or device and precision do not fit.
            Stopped: When the user stopped it before the first step.
        """
        from medbench.families._encoder_fit import fit_encoder

        network, reader, card, adapter = fit_encoder(train, validation, options, fitting)
        return EncoderModel(network, reader, card, fitting.device.name, adapter)

    def untuned(self, train: Examples, options: EncoderOptions, fitting: Fitting) -> EncoderModel | None:
        """Return the unchanged base with a fitted head; None when nothing but the head would be tuned.

        Raises:
            MedbenchError: When the base cannot be had or read.
            Stopped: When the user stopped it.
        """
        from medbench.families._encoder_fit import start_encoder

        if options.tuning == "frozen" or not len(train):
            return None
        return EncoderModel(*start_encoder(train, options, fitting)[:3], fitting.device.name)

    def load(self, folder: Path, device: Device) -> EncoderModel:
        """Load a saved encoder, its adapter merged.

        Raises:
            MedbenchError: When a file is missing or damaged, or the base is not the one it was trained on.
        """
        from medbench.families._encoder_fit import load_encoder

        network, reader, card, adapter = load_encoder(folder, device.name)
        return EncoderModel(network, reader, card, device.name, adapter)

    def estimate(self, train: Examples, options: EncoderOptions, device: Device) -> Estimate:
        """Say what a fit would cost; tokens are counted on a sample, seconds rest on measured steps of MiniLM."""
        return cost.estimate(train, options, device)

    def remedy(self, error: BaseException, options: EncoderOptions) -> tuple[str, dict[str, Any]] | None:
        """Know three failures: out of memory, disk full, base not to be had."""
        return cost.remedy(error, options)


FAMILY = Encoder()
