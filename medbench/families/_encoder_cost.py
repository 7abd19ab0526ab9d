"""What fine-tuning an encoder will cost, and what to do when it failed. Imports no torch."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import word_spans
from medbench.families import Estimate
from medbench.families._bases import MINILM, configuration, installed, reachable, unavailable
from medbench.families._networks import longest_input
from medbench.families._text_batches import load_reader
from medbench.records import Device, Examples

if TYPE_CHECKING:
    from medbench.families.encoder import EncoderOptions

_TOKENS_A_WORD = 1.55
_SAMPLE = 400
# Seconds per token of MiniLM on two CPU cores, from steps of 16 x 256 tokens; a reading forward and a trained step.
SECONDS_READ, _SECONDS_STEP = 0.8 / 4096, {"lora": 2.6 / 4096, "full": 4.5 / 4096, "frozen": 0.8 / 4096}
GPU_FASTER = 40.0
MINILM_WORK = 12 * 6 * 384**2
PROCESS_BYTES = 900_000_000
BERT_BASE = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "vocab_size": 30522}
START_TEXTS = 1000
"""So many texts at most are read for the base before tuning alone."""
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def estimate(train: Examples, options: EncoderOptions, device: Device) -> Estimate:
    """Estimate seconds, memory, disk and the share of cut texts; name what stands against a start."""
    config = configuration(options.base)
    shape = base_shape(config or BERT_BASE)
    limit = min(options.max_tokens, longest_input(config) if config else 512)
    # Every chunk spends two of its tokens on its marks of beginning and end.
    most = options.chunks * (limit - 2) + 2
    lengths = token_lengths(train.items, options.base)
    read = np.minimum(lengths, most)
    mean = float(read.mean()) if len(read) else 0.0
    tokens = mean * len(train)
    head = _head(shape, options, train.truth.shape[1])
    size = (shape["work"] + head["work"]) / MINILM_WORK / (1.0 if device.name == "cpu" else GPU_FASTER)
    looks = 0.2 * tokens * options.evals_per_epoch
    seconds = size * options.epochs * (tokens * _SECONDS_STEP[options.tuning] + looks * SECONDS_READ)
    seconds += size * tokens * SECONDS_READ * options.head_start + 20
    if options.tuning != "frozen":
        # The unchanged base answers validation and test, together nearly half as many rows as train.
        some = 0.0 if options.head_start else min(START_TEXTS / max(len(train), 1), 1.0)
        seconds += size * tokens * SECONDS_READ * (0.45 + some)
    if options.max_minutes is not None:
        seconds = min(seconds, options.max_minutes * 60 + size * looks * SECONDS_READ + 20)
    trained = _trained(shape, options) + head["weights"]
    return Estimate(
        seconds=round(seconds, 1),
        memory=_memory(shape, trained, options, int(read.max(initial=1))) + 4 * options.batch * head["kept"],
        disk=3 * 12 * trained + 4 * (shape["weights"] if options.tuning == "full" else trained),
        cut=float((lengths > most).mean()) if len(lengths) else 0.0,
        problems=tuple(_problems(options, device)),
        notes=tuple(_notes(options, limit, config is None)),
    )


def reading_seconds(base: str, tokens: float, device: Device) -> float:
    """Return the seconds that a base needs to read so many tokens once, by measured readings of MiniLM."""
    size = float(base_shape(configuration(base) or BERT_BASE)["work"] / MINILM_WORK)
    return size * tokens * SECONDS_READ / (1.0 if device.name == "cpu" else GPU_FASTER)


def token_lengths(texts: Sequence[str], base: str) -> npt.NDArray[np.int64]:
    """Return the token counts of at most 400 of the texts, evenly taken; from words when the tokenizer is not here."""
    sample = (
        [texts[row] for row in np.unique(np.linspace(0, len(texts) - 1, _SAMPLE).astype(int))] if len(texts) else []
    )
    folder = installed(base)
    if folder is not None and (folder / "tokenizer.json").exists():
        return np.array([len(ids) for ids in load_reader(folder, 10**6, 0).ids(sample)], dtype=np.int64)
    return np.array([round(len(word_spans(text)) * _TOKENS_A_WORD) + 2 for text in sample], dtype=np.int64)


def base_shape(config: dict[str, Any]) -> dict[str, int]:
    """Return layers, width, heads, and the counts of weights (work: those in layers) of a BERT-like configuration."""
    layers = int(config.get("num_hidden_layers") or config.get("n_layers") or 12)
    width = int(config.get("hidden_size") or config.get("dim") or 768)
    heads = int(config.get("num_attention_heads") or config.get("n_heads") or 12)
    inner = int(config.get("intermediate_size") or config.get("hidden_dim") or 4 * width)
    work = layers * (4 * width**2 + 2 * width * inner)
    words = int(config.get("vocab_size") or 30522) * width
    return {"layers": layers, "width": width, "heads": heads, "inner": inner, "work": work, "weights": work + words}


def _head(shape: dict[str, int], options: EncoderOptions, labels: int) -> dict[str, int]:
    """Return what the head adds: products a token (work), weights, and numbers kept of a text for the way back."""
    width = shape["width"]
    if options.head == "pooled":
        return {"work": 0, "weights": width * labels, "kept": labels}
    # A label's question and its vector meet every token; its vector and what flows back to it are kept.
    return {"work": width**2 + 2 * width * labels, "weights": width**2 + 2 * width * labels, "kept": 3 * width * labels}


def _trained(shape: dict[str, int], options: EncoderOptions) -> int:
    if options.tuning == "full":
        return shape["weights"]
    if options.tuning == "frozen":
        return 0
    per_layer = 4 * (2 * shape["width"]) + 2 * (shape["width"] + shape["inner"])
    return options.lora_rank * shape["layers"] * per_layer


def _memory(shape: dict[str, int], trained: int, options: EncoderOptions, longest: int) -> int:
    """Weights, gradients and two AdamW moments, and what a step keeps for its way back, in float32 bytes."""
    kept = shape["layers"] * (8 * shape["width"] + 3 * shape["inner"])
    if options.tuning == "frozen":
        kept = 8 * shape["width"] + 3 * shape["inner"]
    elif options.gradient_checkpointing:
        kept = shape["layers"] * shape["width"] + 8 * shape["width"] + 3 * shape["inner"]
    return PROCESS_BYTES + 4 * shape["weights"] + 12 * trained + 4 * kept * options.batch * longest


def _problems(options: EncoderOptions, device: Device) -> list[str]:
    problems = []
    if not reachable(options.base):
        problems.append(str(unavailable(options.base)))
    if device.name == "cpu" and options.precision in ("bf16", "fp16"):
        problems.append(f"Precision {options.precision} needs a GPU; set precision to auto or fp32.")
    return problems + device_problems(device)


def _notes(options: EncoderOptions, limit: int, guessed: bool) -> list[str]:
    notes = []
    if limit < options.max_tokens:
        notes.append(f"The base reads at most {limit} tokens; max_tokens is lowered to that.")
    if guessed:
        notes.append(
            "The base is not on this machine yet: it will be downloaded, and the figures assume a BERT of usual size."
        )
    if options.base != MINILM and options.tuning != "full":
        saved = "adapter" if options.tuning == "lora" else "output layer"
        notes.append(f"Only the {saved} is saved: the model can be used where this base is.")
    return notes


def device_problems(device: Device) -> list[str]:
    """Return what stands against a device, at most one sentence."""
    if device.name == "cpu" or device.memory:
        return []
    return [f"The device {device.name} is not there; set device to cpu, or run where a GPU is."]


def remedy(error: BaseException, options: EncoderOptions) -> tuple[str, dict[str, Any]] | None:
    """Return (a sentence, the options to change) for a failed fine-tuning that is known, else None."""
    if out_of_memory(error):
        return _smaller(options)
    return known_failure(error, options.base)


def out_of_memory(error: BaseException) -> bool:
    """Return whether a failure was a want of memory, on the machine or on its GPU."""
    told = str(error).lower()
    named = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    return named or any(sentence in told for sentence in _NO_MEMORY)


def _smaller(options: EncoderOptions) -> tuple[str, dict[str, Any]]:
    """Return what needs less memory: half the batch, then activations computed twice, fewer chunks, shorter texts."""
    if options.batch > 1:
        sentence = f"There was not enough memory for batches of {options.batch}; try half of that, added up twice."
        return sentence, {"batch": options.batch // 2, "accumulation": options.accumulation * 2}
    if not options.gradient_checkpointing:
        return "There was not enough memory; try computing activations twice.", {"gradient_checkpointing": True}
    if options.chunks > 1:
        fewer = options.chunks // 2
        return f"There was not enough memory; try reading {fewer} chunks of each text.", {"chunks": fewer}
    shorter = max(options.max_tokens // 2, 8)
    return f"There was not enough memory; try reading {shorter} tokens of each text.", {"max_tokens": shorter}


def known_failure(error: BaseException, base: str) -> tuple[str, dict[str, Any]] | None:
    """Return what to do about a full disk or a base that cannot be had, else None."""
    told = str(error).lower()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "no space left" in told:
        return "The disk is full: remove old runs or datasets, then resume this run.", {}
    if base != MINILM and "hub" in told:
        return f"The base {base!r} could not be had from the model hub; minilm is installed.", {"base": MINILM}
    return None
