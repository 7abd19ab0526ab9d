"""Tuning and loading the causal language model: prompts with answers, adapters, and what is kept of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.families import Fitting
from medbench.families import _adapters as adapters
from medbench.families._bases import weights_sha256
from medbench.families._causal_bases import obtain, resolved
from medbench.families._causal_network import IGNORED, causal_network, load_lm, with_adapters
from medbench.families._causal_prompts import Prompts, Wording, tokenizer_json, word
from medbench.families._causal_scoring import Reading, left_padded
from medbench.families._causal_trie import Ids
from medbench.families._training import Training, train
from medbench.records import Device, Examples
from medbench.workspace import read_json

if TYPE_CHECKING:
    import torch

    from medbench.families._adapters import Adapter
    from medbench.families.causal import CausalOptions

CARD = "causal.json"
RATE = 5e-4
EXACT_NODES = 512
_SHOWN_ROWS, _SHOWN = 4, 220
Fitted = tuple[Any, Prompts, dict[str, Any], "Adapter | None"]
"""Language model in evaluation mode, prompts, card, and the adapter (None before tuning)."""


def fit_causal(examples: Examples, validation: Examples, options: CausalOptions, fitting: Fitting) -> Fitted:
    """Tune adapters on prompts with answers; see `Causal.fit`."""
    import torch

    torch.manual_seed(int(fitting.rng.integers(2**31 - 1)))
    base = resolved(options.base, fitting.device)
    folder = obtain(base)
    prompts = prompts_for(folder, examples, options)
    card = _card(base, folder, examples, options, prompts)
    lm = with_adapters(load_lm(folder, fitting.device, options.quantize, options.precision), options, base)
    network = causal_network(lm, prompts, reading_for(prompts, card, fitting.device), card["width"])
    _say_first_batch(examples, prompts, fitting)
    train(_job(network, prompts, card, examples, validation, options, fitting), options, fitting)
    adapter = adapters.taken_out(lm, "CAUSAL_LM")
    if options.gradient_checkpointing:
        lm.activation_checkpointing_disable()
    lm = lm.merge_and_unload() if options.quantize == "none" else lm
    return lm.eval().requires_grad_(False), prompts, card, adapter


def untuned(examples: Examples, options: CausalOptions, fitting: Fitting) -> Fitted:
    """Return the base as it is, with the same prompts and the same labels."""
    base = resolved(options.base, fitting.device)
    folder = obtain(base)
    prompts = prompts_for(folder, examples, options)
    lm = load_lm(folder, fitting.device, options.quantize, options.precision)
    note = "“Before tuning” is the unchanged base, asked in the same words."
    card = {**_card(base, folder, examples, options, prompts), "notes": [note]}
    return lm.requires_grad_(False), prompts, card, None


def prompts_for(folder: Path, examples: Examples, options: CausalOptions) -> Prompts:
    """Return how a base's folder writes these labels."""
    wording = word(folder, examples.labels, examples.answer, options.instruction, options.max_tokens)
    return Prompts(tokenizer_json(folder), wording)


def reading_for(prompts: Prompts, card: dict[str, Any], device: Device) -> Reading:
    """Return how prompts are read on a device."""
    wording = prompts.wording
    return Reading(device.name, card["tokens_per_batch"], wording.pad_id, prompts.terminators, prompts.frame)


def _card(base: str, folder: Path, examples: Examples, options: CausalOptions, prompts: Prompts) -> dict[str, Any]:
    inner = int(prompts.trie.inner.sum())
    scoring = options.scoring
    if scoring == "auto":
        scoring = "exact" if inner <= EXACT_NODES else "beam"
    return {
        "version": 1,
        "labels": list(examples.labels),
        "answer": examples.answer,
        "base": base,
        "base_sha256": weights_sha256(folder),
        "wording": prompts.wording.as_json(),
        "tree": {"nodes": len(prompts.trie), "inner": inner},
        "scoring": scoring,
        "width": options.width if scoring == "beam" else None,
        "labels_a_text": float(max(examples.truth.sum() / max(len(examples), 1), 1.0)),
        "quantize": options.quantize,
        "precision": options.precision,
        "tokens_per_batch": options.tokens_per_batch,
    }


def _job(
    network: Any,
    prompts: Prompts,
    card: dict[str, Any],
    examples: Examples,
    validation: Examples,
    options: CausalOptions,
    fitting: Fitting,
) -> Training:
    order = _orders(examples, options, fitting.rng)
    asked = prompts.prompts(examples.items)
    spread = np.linspace(0, len(validation) - 1, options.watched) if len(validation) else np.zeros(0)
    watched = np.unique(spread.astype(int)).tolist()
    looked = prompts.prompts([validation.items[row] for row in watched])
    # Longest first, so that a want of memory shows in the first look.
    rows = [watched[at] for at in sorted(range(len(looked)), key=lambda at: -len(looked[at]))]
    shown = dict(zip(watched, looked, strict=True))
    usual = _usual_order(examples)
    rate = options.learning_rate or RATE
    return Training(
        network=network,
        collate=_collating(prompts, options.packing),
        train=[
            {"prompt": ids, "order": order[row], "labels": examples.truth[row], "ask": False}
            for row, ids in enumerate(asked)
        ],
        lengths=[
            len(ids) + len(prompts.written(np.flatnonzero(truth).tolist()))
            for ids, truth in zip(asked, examples.truth, strict=True)
        ],
        train_truth=examples.truth,
        validation=[
            {"prompt": shown[row], "order": usual(validation.truth[row]), "labels": validation.truth[row], "ask": True}
            for row in rows
        ],
        rows=rows,
        texts=[validation.items[row] for row in rows],
        truth=validation.truth[rows],
        labels=examples.labels,
        answer=examples.answer,
        rates=(rate, rate),
        to_scores=lambda chances: at_least_once(chances, examples.answer, card["labels_a_text"]),
        identity=_identity(asked, examples, options, card),
    )


def at_least_once(chances: npt.NDArray[np.float32], answer: str, labels_a_text: float) -> npt.NDArray[np.float32]:
    """Turn chances to be written first into scores.

    For "many", a label counts when it is written at all: the chance of at least one in as many draws as a text has
    labels on average, 1 - (1 - p)^m. For "one", rows are made to sum to 1.
    """
    if answer == "one":
        total = chances.sum(axis=1, keepdims=True)
        even = np.float32(1 / chances.shape[1])
        return np.where(total > 0, chances / np.maximum(total, 1e-30), even).astype(np.float32)
    scores: npt.NDArray[np.float32] = (1 - (1 - chances.clip(0, 1).astype(np.float64)) ** labels_a_text).astype(
        np.float32
    )
    return scores


Order = Callable[[], list[int]]


def _usual_order(examples: Examples) -> Callable[[npt.NDArray[np.bool_]], Order]:
    counts = examples.truth.sum(axis=0)
    ranks = np.argsort(-counts, kind="stable")
    return lambda truth: lambda: [int(label) for label in ranks if truth[label]]


def _orders(examples: Examples, options: CausalOptions, rng: np.random.Generator) -> list[Order]:
    """Return for each text a function that gives its labels in the order in which they are to be written now.

    Shuffled anew each time, the first label written is a fair draw among the true ones, so that its chances rank all
    labels; by frequency, every text has one answer.
    """
    if options.order == "frequency":
        usual = _usual_order(examples)
        return [usual(truth) for truth in examples.truth]
    own = np.random.default_rng(int(rng.integers(2**63 - 1)))

    def drawn(truth: npt.NDArray[np.bool_]) -> Order:
        labels = np.flatnonzero(truth)
        return lambda: own.permutation(labels).tolist()

    return [drawn(truth) for truth in examples.truth]


def _collating(prompts: Prompts, packing: bool) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    pad_id = prompts.wording.pad_id

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        answers = [prompts.written(item["order"]()) for item in items]
        asked = [item["prompt"] for item in items]
        batch = (packed if packing else aligned)(asked, answers, pad_id)
        batch["labels"] = np.stack([item["labels"] for item in items]).astype(np.float32)
        if items[0]["ask"]:
            batch["asked"], batch["asked_mask"], _ = left_padded(asked, pad_id)
        return {name: torch.from_numpy(value) for name, value in batch.items()}

    return collate


def aligned(asked: Sequence[Ids], answers: Sequence[Ids], pad_id: int) -> dict[str, npt.NDArray[Any]]:
    """Return prompts with answers filled on the left, so that all answers end together and share `keep`."""
    ids, mask, places = left_padded([[*one, *other] for one, other in zip(asked, answers, strict=True)], pad_id)
    longest = max(map(len, answers))
    targets = np.full((len(answers), longest), IGNORED, dtype=np.int64)
    for row, answer in enumerate(answers):
        targets[row, longest - len(answer) :] = answer
    keep = np.arange(ids.shape[1] - longest - 1, ids.shape[1] - 1)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": places, "targets": targets, "keep": keep}


def packed(asked: Sequence[Ids], answers: Sequence[Ids], pad_id: int) -> dict[str, npt.NDArray[Any]]:
    """Return prompts with answers one after another in a single row; positions that begin anew keep them apart."""
    ids: Ids = []
    places: Ids = []
    keep: Ids = []
    targets: Ids = []
    for one, answer in zip(asked, answers, strict=True):
        start = len(ids) + len(one)
        ids += [*one, *answer]
        places += range(len(one) + len(answer))
        keep += range(start - 1, start - 1 + len(answer))
        targets += answer
    rows = {"input_ids": [ids], "position_ids": [places], "targets": [targets], "keep": keep}
    return {name: np.array(value, dtype=np.int64) for name, value in rows.items()}


def _identity(asked: list[Ids], examples: Examples, options: CausalOptions, card: dict[str, Any]) -> str:
    """Return a digest of the training prompts, their labels and the shape of what is trained."""
    digest = hashlib.blake2b(np.packbits(examples.truth).tobytes(), digest_size=16)
    for row in asked:
        digest.update(np.asarray(row, dtype=np.int64).tobytes() + b"|")
    shape = [card["base_sha256"], options.lora_rank, options.lora_targets, options.quantize, *examples.labels]
    digest.update(json.dumps(shape).encode())
    return digest.hexdigest()


def _say_first_batch(examples: Examples, prompts: Prompts, fitting: Fitting) -> None:
    """Say the first texts as the network reads them, and what is cut."""
    shown = [str(item) for item in examples.items[:_SHOWN_ROWS]]
    rows = []
    for row, (text, end) in enumerate(zip(shown, prompts.read_until(shown), strict=True)):
        read = text[:end] if end <= 2 * _SHOWN else f"{text[:_SHOWN]} … {text[end - _SHOWN : end]}"
        labels = [name for name, true in zip(examples.labels, examples.truth[row], strict=True) if true]
        rows.append({"read": read, "cut": text[end:][:_SHOWN], "labels": labels[:8]})
    fitting.say("first_batch", rows=rows)


def load_causal(folder: Path, device: Device) -> Fitted:
    """Load what `CausalModel.save` wrote; see `Causal.load`."""
    card = read_json(_existing(folder / CARD))
    known = {"labels", "answer", "base", "base_sha256", "wording", "scoring", "width", "labels_a_text", "quantize"}
    if missing := (known | {"tokens_per_batch", "precision"}) - set(card):
        raise _damaged(folder / CARD, f"one without {', '.join(sorted(missing))}")
    adapter = adapters.read_adapter(folder)
    base = adapters.own_base(card, obtain)
    quantize = card["quantize"] if device.name != "cpu" else "none"
    lm = adapters.put_on(load_lm(base, device, quantize, card["precision"]), adapter, "CAUSAL_LM")
    lm = (lm.merge_and_unload() if quantize == "none" else lm).eval()
    prompts = Prompts(tokenizer_json(base), Wording.from_json(card["wording"]))
    return lm.requires_grad_(False), prompts, card, adapter


def _existing(path: Path) -> Path:
    if not path.exists():
        raise _damaged(path, "no such file")
    return path


def _damaged(path: Path, found: str) -> MedbenchError:
    return MedbenchError(
        f"{path.name} of a saved language model", found, f"Restore the folder {path.parent} or train again."
    )
