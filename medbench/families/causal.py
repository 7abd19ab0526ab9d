"""A causal language model that writes the labels: low-rank adapters (LoRA), decoding held to the labels."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.attribution import explain_sentences
from medbench.families import Estimate, Family, Fitting, Model
from medbench.families import _causal_cost as cost
from medbench.families._adapters import save_adapter
from medbench.families._causal_bases import AUTO, SUGGESTIONS
from medbench.families._causal_prompts import Prompts
from medbench.families._text_batches import VectorMemory
from medbench.families._training_options import EXPERT, AdapterOptions
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores
from medbench.workspace import write_json

_CARD = "causal.json"
_MEMORY_BYTES = 32 * 2**20


class CausalOptions(AdapterOptions):
    """Options of the causal language model."""

    base: str = Field(
        AUTO,
        min_length=1,
        description="The language model to start from: auto, smollm2, a hub name, or the path of a folder here.",
        json_schema_extra={"suggestions": {**SUGGESTIONS}},
    )
    instruction: str = Field(
        "Predict the labels of the following medical text.",
        min_length=1,
        max_length=2000,
        description="What stands before each text, one or two sentences.",
    )
    max_tokens: int = Field(
        384, ge=8, le=32768, description="Most tokens read of a text; English medical text has about 1.5 tokens a word."
    )
    epochs: float = Field(3, gt=0, le=1000, description="How often the training texts are gone through, in epochs.")
    batch: int = Field(
        2, ge=1, le=1024, description="Items that go through the network at once, a count; a GPU takes more."
    )
    accumulation: int = Field(
        4,
        ge=1,
        le=1024,
        description="Batches that are added up before the weights move, a count.",
        json_schema_extra=EXPERT,
    )
    imbalance: Literal["none", "sampler", "oversampling"] = Field(
        "none", description="Help for rare labels: draw rare ones more often (sampler) or all equally (oversampling)."
    )
    quantize: Literal["none", "8bit", "4bit"] = Field(
        "none", description="Bits per weight of the frozen base; 8 and 4 bits need a CUDA GPU and bitsandbytes."
    )
    order: Literal["shuffled", "frequency"] = Field(
        "shuffled",
        description="In which order an answer names its labels: anew at random, or the most frequent label first.",
        json_schema_extra=EXPERT,
    )
    scoring: Literal["auto", "exact", "beam", "list"] = Field(
        "auto",
        description="How labels are scored: all of them (exact), the likeliest beginnings (beam), only those that the "
        "model names (list), or exact for small sets of labels and beam for large ones (auto).",
        json_schema_extra=EXPERT,
    )
    width: int = Field(
        48, ge=1, le=4096, description="Beginnings of labels that a beam follows, a count.", json_schema_extra=EXPERT
    )
    watched: int = Field(
        200,
        ge=2,
        le=10**6,
        description="Validation texts that are looked at while training, a count; afterwards all are used.",
        json_schema_extra=EXPERT,
    )
    packing: bool = Field(
        False,
        description="Put the texts of a batch into one row, so that nothing is padded.",
        json_schema_extra=EXPERT,
    )
    tokens_per_batch: int = Field(
        2048,
        ge=16,
        le=2**20,
        description="Most tokens in a batch when answering, a count; a GPU gets 32 times as many.",
        json_schema_extra=EXPERT,
    )


class CausalModel(Model):
    """A language model with its prompts; adapters are merged into it (beside it when its weights are packed)."""

    dear: ClassVar[bool] = True

    def __init__(self, lm: Any, prompts: Prompts, card: dict[str, Any], device: Device, adapter: Any = None) -> None:
        """Take a language model in evaluation mode on `device`, its prompts, its card and its adapter."""
        from medbench.families._causal_fit import reading_for

        self.labels: tuple[str, ...] = tuple(card["labels"])
        self.answer: AnswerKind = card["answer"]
        self.lm, self.prompts, self.card, self.adapter = lm, prompts, card, adapter
        self._reading = reading_for(prompts, card, device)
        self._memory = VectorMemory(_MEMORY_BYTES)
        self._lock = threading.Lock()

    def _read(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n, n_labels + d): the scores and the mean hidden state of each text."""
        from medbench.families._causal_fit import at_least_once
        from medbench.families._causal_scoring import label_chances

        asked = self.prompts.prompts(items)
        width = 1 if self.card["scoring"] == "list" else self.card["width"]
        with self._lock:
            chances, pooled = label_chances(self.lm, asked, self.prompts.trie, self._reading, width)
        if self.card["scoring"] == "list":
            return np.concatenate([self._listed(items), pooled], axis=1)
        chances = chances[:, : len(self.labels)]
        return np.concatenate([at_least_once(chances, self.answer, self.card["labels_a_text"]), pooled], axis=1)

    def _kept(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        width = len(self.labels) + self.lm.config.get_text_config().hidden_size
        return self._memory.get(items, width, self._read)

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, n_labels) float32 scores in [0, 1]."""
        return self._kept(items)[:, : len(self.labels)].copy()

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n, d) float32 mean hidden states of length 1."""
        pooled = self._kept(items)[:, len(self.labels) :]
        unit: npt.NDArray[np.float32] = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return unit

    def name(self, items: Sequence[str]) -> list[list[tuple[str, float]]]:
        """Return what the model writes for each text: labels in its order, with the mean chance of their tokens, 0-1.

        Only labels can be written: every step is held to the tree of them.
        """
        from medbench.families._causal_scoring import named_labels

        prompts = self.prompts
        nothing = len(self.labels) if self.answer == "many" else None
        with self._lock:
            found = [
                named_labels(self.lm, asked, prompts.trie, prompts.separator, self._reading, nothing)
                for asked in prompts.prompts(items)
            ]
        most = 1 if self.answer == "one" else None
        return [[(self.labels[label], chance) for label, chance in row[:most]] for row in found]

    def _listed(self, items: Sequence[str]) -> Scores:
        scores = np.zeros((len(items), len(self.labels)), dtype=np.float32)
        places = {label: at for at, label in enumerate(self.labels)}
        for row, named in enumerate(self.name(items)):
            for label, chance in named:
                scores[row, places[label]] = chance
        if self.answer == "one":
            rest = (1 - scores.sum(axis=1, keepdims=True)) / max(len(self.labels) - 1, 1)
            scores = np.where(scores > 0, scores, rest)
            scores /= np.maximum(scores.sum(axis=1, keepdims=True), 1e-30)
        return scores.astype(np.float32)

    def notes(self) -> tuple[str, ...]:
        """Return how it came about, where that is no tuning."""
        return tuple(self.card.get("notes", ()))

    def reasons(self, item: str, label: str) -> Explanation:
        """Weigh the sentences of `item` by leaving each out; only the label's own tokens are read for each."""
        return explain_sentences(partial(self.label_scores, label=label), item, label)

    def methods(self) -> tuple[str, ...]:
        """Return leaving out sentences, which costs the fewest readings."""
        return ("sentences",)

    def label_scores(self, texts: Sequence[str], label: str) -> npt.NDArray[np.float32]:
        """Return (n,) scores of one label; only its own tokens are read."""
        from medbench.families._causal_scoring import label_chances

        at = self.labels.index(label)
        path = np.array(self.prompts.trie.path(at), dtype=np.int64)
        asked = self.prompts.prompts(texts)
        with self._lock:
            chances, _ = label_chances(self.lm, asked, self.prompts.trie, self._reading, None, only=path)
        return chances[:, at]

    def cut(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n,) float32, the share of each text's words beyond `max_tokens`."""
        return self.prompts.cut(items)

    def save(self, folder: Path) -> None:
        """Write the card and the adapter; the base stays where it is."""
        if self.adapter is not None:
            save_adapter(self.adapter, folder)
        write_json(folder / _CARD, self.card)

    def export(self, format: str, out: Path) -> None:
        """Write the model for other programs; see `_causal_export.export`."""
        from medbench.families._causal_export import export

        export(self, format, out)

    def try_export(self, folder: Path, texts: Sequence[str]) -> dict[str, Any]:
        """Compare what an exported folder writes with what the model writes; see `_causal_export.tried`."""
        from medbench.families._causal_export import tried

        with self._lock:
            return tried(self, folder, texts)


class Causal(Family[CausalOptions]):
    """Causal language models with adapters."""

    name = "causal"
    title = "Language model (LoRA)"
    summary = "A language model learns to write your labels: choose it for codes and long label lists, best with a GPU."
    items: ClassVar[frozenset[ItemKind]] = frozenset({"text"})
    answers: ClassVar[frozenset[AnswerKind]] = frozenset({"one", "many"})
    Options = CausalOptions
    space: ClassVar[Mapping[str, Any]] = {"learning_rate": (5e-5, 2e-3, "log"), "imbalance": True}

    def fit(self, train: Examples, validation: Examples, options: CausalOptions, fitting: Fitting) -> CausalModel:
        """Tune adapters on `train`, keep what was best on `validation`; a stop keeps the best so far.

        Raises:
            MedbenchError: When the base cannot be had or read, or device, precision and bits do not fit.
            Stopped: When the user stopped it before the first step.
        """
        from medbench.families._causal_fit import fit_causal

        lm, prompts, card, adapter = fit_causal(train, validation, options, fitting)
        return CausalModel(lm, prompts, card, fitting.device, adapter)

    def untuned(self, train: Examples, options: CausalOptions, fitting: Fitting) -> CausalModel:
        """Return the base with the same prompts, so that tuning can be judged by what it added."""
        from medbench.families._causal_fit import untuned

        lm, prompts, card, adapter = untuned(train, options, fitting)
        return CausalModel(lm, prompts, card, fitting.device, adapter)

    def load(self, folder: Path, device: Device) -> CausalModel:
        """Load a saved adapter onto its base.

        Raises:
            MedbenchError: When a file is missing or damaged, or the base is not the one it was trained on.
        """
        from medbench.families._causal_fit import load_causal

        lm, prompts, card, adapter = load_causal(folder, device)
        return CausalModel(lm, prompts, card, device, adapter)

    def estimate(self, train: Examples, options: CausalOptions, device: Device) -> Estimate:
        """Say what a fit would cost; tokens are counted on a sample, seconds rest on measured steps of SmolLM2."""
        return cost.estimate(train, options, device)

    def remedy(self, error: BaseException, options: CausalOptions) -> tuple[str, dict[str, Any]] | None:
        """Know three failures: out of memory, disk full, base not to be had."""
        return cost.remedy(error, options)


FAMILY = Causal()
