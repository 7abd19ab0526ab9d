"""Fitting and loading the fine-tuned encoder: base, adapters, head, and what a checkpoint of it is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting
from medbench.families import _adapters as adapters
from medbench.families import _networks as networks
from medbench.families._bases import MINILM, obtain, weights_sha256
from medbench.families._encoder_cost import START_TEXTS
from medbench.families._imbalance import make_criterion
from medbench.families._probing import fit_line, some_rows
from medbench.families._text_batches import Chunks, TextReader, load_reader, padded_chunks
from medbench.families._training import Training, resumable, train
from medbench.records import Examples, Truth
from medbench.workspace import read_json

if TYPE_CHECKING:
    import torch

    from medbench.families.encoder import EncoderOptions

CARD, HEAD, WEIGHTS = "encoder.json", "head.safetensors", "model.safetensors"
# Base and head rates by tuning; small steps for a whole network, larger ones for few new weights.
RATES = {"full": (5e-5, 1e-3), "lora": (1e-3, 1e-3), "frozen": (1e-3, 1e-3)}
_SLICE, _SHOWN_ROWS, _SHOWN = 256, 4, 220
Fitted = tuple[Any, TextReader, dict[str, Any], Any]
"""Network in evaluation mode, reader, card, and the unmerged adapter (tensors, configuration) or None."""


def start_encoder(examples: Examples, options: EncoderOptions, fitting: Fitting) -> Fitted:
    """Return the unchanged base with a head fitted on its vectors; see `Encoder.untuned`.

    A fit with a head start goes on from that head, so all texts are read for it and none is read twice. Without one
    they are read for this alone, and some must do.
    """
    import torch

    torch.manual_seed(int(fitting.rng.integers(2**31 - 1)))
    folder, n = obtain(options.base), len(examples)
    unchanged = options.model_copy(update={"tuning": "frozen"})
    network, reader = _build(folder, examples, unchanged)
    rows = np.arange(n) if options.head_start else some_rows(examples.truth, START_TEXTS, fitting.rng)
    ids = reader.chunks([examples.items[row] for row in rows], options.chunks)
    _start_head(network.to(fitting.device.name), ids, examples.truth[rows], reader.pad_id, options, fitting)
    told = f"all {n:,}" if len(rows) == n else f"{len(rows):,} of {n:,}"
    note = f"“Before tuning” is the unchanged base with an output layer fitted on {told} training texts."
    card = {**_card(folder, examples, unchanged, reader), "notes": [note]}
    return network.eval().requires_grad_(False), reader, card, None


def fit_encoder(examples: Examples, validation: Examples, options: EncoderOptions, fitting: Fitting) -> Fitted:
    """Fine-tune an encoder, from the head of `start_encoder` where there is one; see `Encoder.fit`."""
    import torch

    if int(os.environ.get("RANK", "0")) > 0:
        # Under torchrun every process fits, and the first one speaks.
        fitting = replace(fitting, say=Say(None, stop=fitting.say.stop))

    torch.manual_seed(int(fitting.rng.integers(2**31 - 1)))
    folder = obtain(options.base)
    network, reader = _build(folder, examples, options)
    ids = reader.chunks(examples.items, options.chunks)
    _say_first_batch(examples, reader, options.chunks, fitting)
    device = fitting.device.name
    job = _job(network, reader, ids, examples, validation, options)
    if options.head_start and resumable(fitting, job.identity) is None:
        if fitting.start is None:
            _start_head(network.to(device), ids, examples.truth, reader.pad_id, options, fitting)
        else:
            network.head.load_state_dict(fitting.start)
    train(job, options, fitting)
    adapter = None
    if options.tuning == "lora":
        adapter = adapters.taken_out(network.backbone, "FEATURE_EXTRACTION")
        network.backbone = network.backbone.merge_and_unload()
    card = _card(folder, examples, options, reader)
    return network.to(device).eval().requires_grad_(False), reader, card, adapter


def _card(folder: Path, examples: Examples, options: EncoderOptions, reader: TextReader) -> dict[str, Any]:
    return {
        "version": 1,
        "labels": list(examples.labels),
        "answer": examples.answer,
        "base": options.base,
        "base_sha256": weights_sha256(folder),
        "tuning": options.tuning,
        "head": options.head,
        "pooling": options.pooling,
        "chunks": options.chunks,
        "max_tokens": reader.max_tokens,
        "pad_id": reader.pad_id,
        "tokens_per_batch": options.tokens_per_batch,
    }


def _build(folder: Path, examples: Examples, options: EncoderOptions) -> tuple[Any, TextReader]:
    backbone = networks.load_backbone(folder, options.dropout)
    config = backbone.config.to_dict()
    max_tokens = min(options.max_tokens, networks.longest_input(config))
    reader = load_reader(folder, max_tokens, int(config.get("pad_token_id") or 0))
    if options.tuning == "lora":
        backbone = adapters.with_adapters(backbone, adapters.lora_of(options), options.base)
    elif options.tuning == "frozen":
        backbone.requires_grad_(False)
    if options.gradient_checkpointing:
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    criterion = make_criterion(options, examples.truth, examples.answer)
    network = networks.text_network(
        backbone, len(examples.labels), options.pooling, options.dropout, criterion, options.head
    )
    return network, reader


def _job(
    network: Any,
    reader: TextReader,
    ids: list[Chunks],
    examples: Examples,
    validation: Examples,
    options: EncoderOptions,
) -> Training:
    looked = reader.chunks(validation.items, options.chunks)
    order = sorted(range(len(looked)), key=lambda row: -_tokens(looked[row]))
    usual = RATES[options.tuning]

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        matrix, mask = padded_chunks([item["input_ids"] for item in items], reader.pad_id)
        truth = np.stack([item["labels"] for item in items]).astype(np.float32)
        return {
            "input_ids": torch.from_numpy(matrix),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.from_numpy(truth),
        }

    return Training(
        network=network,
        collate=collate,
        train=[{"input_ids": row, "labels": truth} for row, truth in zip(ids, examples.truth, strict=True)],
        lengths=[_tokens(row) for row in ids],
        train_truth=examples.truth,
        validation=[{"input_ids": looked[row], "labels": validation.truth[row]} for row in order],
        rows=order,
        texts=[validation.items[row] for row in order],
        truth=validation.truth[order],
        labels=examples.labels,
        answer=examples.answer,
        rates=(options.learning_rate or usual[0], options.head_learning_rate or usual[1]),
        to_scores=lambda logits: networks.probabilities(logits, examples.answer),
        identity=_identity(ids, examples, options),
    )


def _tokens(chunks: Chunks) -> int:
    return sum(map(len, chunks))


def _identity(ids: Sequence[Chunks], examples: Examples, options: EncoderOptions) -> str:
    """Return a digest of the training texts, their labels and the shape of what is trained."""
    digest = hashlib.blake2b(np.packbits(examples.truth).tobytes(), digest_size=16)
    for row in ids:
        digest.update(b"/".join(np.asarray(chunk, dtype=np.int64).tobytes() for chunk in row) + b"|")
    shape = [options.base, options.tuning, options.pooling, examples.answer, *examples.labels]
    shape += [str(options.lora_rank), options.lora_targets] if options.tuning == "lora" else []
    # Said only where it is not as it always was, so that runs begun before can still be gone on with.
    shape += [options.head] if options.head != "pooled" else []
    digest.update(json.dumps(shape).encode())
    return digest.hexdigest()


def _say_first_batch(examples: Examples, reader: TextReader, chunks: int, fitting: Fitting) -> None:
    """Say the first texts as the network reads them: their beginning, the end of what is read, and what is cut."""
    shown = [str(item) for item in examples.items[:_SHOWN_ROWS]]
    rows = []
    for row, (text, end) in enumerate(zip(shown, reader.read_until(shown, chunks), strict=True)):
        read = text[:end] if end <= 2 * _SHOWN else f"{text[:_SHOWN]} … {text[end - _SHOWN : end]}"
        labels = [name for name, true in zip(examples.labels, examples.truth[row], strict=True) if true]
        rows.append({"read": read, "cut": text[end:][:_SHOWN], "labels": labels[:8]})
    fitting.say("first_batch", rows=rows)


def _start_head(
    network: Any, ids: Sequence[Chunks], truth: Truth, pad_id: int, options: EncoderOptions, fitting: Fitting
) -> None:
    """Fit the head on the vectors of the unchanged base, so that training does not begin by spoiling it.

    Linear probing, then fine-tuning (Kumar et al. 2022). Label attention begins almost even, so the same fit serves it.
    """
    sentence = f"Reading {len(ids):,} texts once with the unchanged base to start the output layer."
    fitting.say("stage", name="head_start", sentence=sentence)
    network.eval()
    parts, width = [], network.head.in_features
    for at in range(0, len(ids), _SLICE):
        if fitting.say.stopping:
            raise Stopped
        texts, device = ids[at : at + _SLICE], fitting.device.name
        parts.append(networks.read_texts(network.pooled, width, texts, pad_id, device, options.tokens_per_batch))
    fit_line(network.head, network.criterion, np.concatenate(parts), truth)


def load_encoder(folder: Path, device: str) -> Fitted:
    """Load what `EncoderModel.save` wrote; see `Encoder.load`."""
    card = _read_card(folder)
    head = _tensors(folder / HEAD)
    adapter = None
    if card["tuning"] == "lora":
        base, adapter = adapters.own_base(card, obtain), adapters.read_adapter(folder)
        backbone = adapters.put_on(networks.load_backbone(base), adapter, "FEATURE_EXTRACTION").merge_and_unload()
    elif card["tuning"] == "frozen":
        base = adapters.own_base(card, obtain)
        backbone = networks.load_backbone(base)
    else:
        base = obtain(MINILM) if card["base"] == MINILM else folder
        backbone = networks.empty_backbone(_existing(folder / "config.json").parent)
        _fill(backbone, _tensors(folder / WEIGHTS), folder / WEIGHTS)
    tokenizer = base if card["base"] == MINILM else _existing(folder / "tokenizer.json").parent
    reader = load_reader(tokenizer, card["max_tokens"], card["pad_id"])
    network = networks.text_network(backbone, len(card["labels"]), card["pooling"], head=card["head"])
    _fill(network.head, head, folder / HEAD)
    return network.to(device).eval().requires_grad_(False), reader, card, adapter


def _read_card(folder: Path) -> dict[str, Any]:
    card = read_json(_existing(folder / CARD))
    known = {"labels", "answer", "base", "base_sha256", "tuning", "pooling", "max_tokens", "pad_id", "tokens_per_batch"}
    if missing := known - set(card):
        raise _damaged(folder / CARD, f"one without {', '.join(sorted(missing))}")
    # Cards written before there was a choice of heads do not name theirs.
    return {"head": "pooled", "chunks": 1, **card}


def _existing(path: Path) -> Path:
    if not path.exists():
        raise _damaged(path, "no such file")
    return path


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(_existing(path))
    except SafetensorError as error:
        raise _damaged(path, f"a damaged file ({error})") from error


def _fill(module: Any, tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise _damaged(path, "weights of another network") from error


def _damaged(path: Path, found: str) -> MedbenchError:
    return MedbenchError(f"{path.name} of a saved encoder", found, f"Restore the folder {path.parent} or train again.")
