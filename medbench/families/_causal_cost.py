"""What tuning a causal language model will cost, and what to do when it failed. Imports no torch."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import word_spans
from medbench.families import Estimate
from medbench.families._causal_bases import DEEPSEEK, SMOLLM2, installed, reachable, resolved, unavailable
from medbench.families._encoder_cost import GPU_FASTER, PROCESS_BYTES, device_problems, known_failure, out_of_memory
from medbench.records import Device, Examples

if TYPE_CHECKING:
    from medbench.families.causal import CausalOptions

_TOKENS_A_WORD, _FRAME_TOKENS = 1.7, 40
# Seconds per token of SmolLM2 on one CPU core: a reading forward, and a trained step with adapters.
SECONDS_READ, SECONDS_STEP = 0.0035, 0.011
_SMOLLM2_WORK = 106_168_320
_SHAPES = {
    SMOLLM2: {
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
    },
    DEEPSEEK: {
        "num_hidden_layers": 28,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
}
_BYTES = {"none": 2.0, "8bit": 1.05, "4bit": 0.6}


def estimate(train: Examples, options: CausalOptions, device: Device) -> Estimate:
    """Estimate seconds, memory, disk and the share of cut texts; name what stands against a start."""
    base = resolved(options.base, device)
    config = _configuration(base)
    shape = lm_shape(config or _SHAPES.get(base, _SHAPES[DEEPSEEK]))
    lengths = _token_lengths(train.items)
    read = np.minimum(lengths, options.max_tokens) + _FRAME_TOKENS
    tokens = float(read.mean()) * len(train) if len(read) else 0.0
    size = shape["work"] / _SMOLLM2_WORK / (1.0 if device.name == "cpu" else 4 * GPU_FASTER)
    looked = tokens * min(options.watched / max(len(train), 1), 0.3) * options.evals_per_epoch
    seconds = size * options.epochs * (tokens * SECONDS_STEP + 2 * looked * SECONDS_READ)
    # The untuned base and the tuned one both answer validation and test, about a third of all rows each.
    seconds += size * 2 * 0.45 * tokens * SECONDS_READ + 30
    if options.max_minutes is not None:
        seconds = min(seconds, options.max_minutes * 60 + size * tokens * SECONDS_READ + 30)
    trained = options.lora_rank * shape["layers"] * shape["rows"]
    return Estimate(
        seconds=round(seconds, 1),
        memory=_memory(shape, trained, options, device, int(read.max(initial=1))),
        disk=4 * 12 * trained,
        cut=float((lengths > options.max_tokens).mean()) if len(lengths) else 0.0,
        problems=tuple(_problems(base, options, device)),
        notes=tuple(_notes(base, options, device, config is None)),
    )


def _configuration(base: str) -> dict[str, Any] | None:
    folder = installed(base)
    if folder is None:
        return _SHAPES.get(base) if base == SMOLLM2 else None
    value: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return value


def _token_lengths(texts: Any) -> npt.NDArray[np.int64]:
    rows = np.unique(np.linspace(0, len(texts) - 1, 400).astype(int)).tolist() if len(texts) else []
    return np.array([round(len(word_spans(texts[row])) * _TOKENS_A_WORD) for row in rows], dtype=np.int64)


def lm_shape(config: dict[str, Any]) -> dict[str, int]:
    """Return layers, width, and the counts of weights (work: those in layers) of a Llama-like configuration.

    "rows" is the sum of the inputs and outputs of a layer's matrices: what adapters of rank 1 add to it.
    """
    layers, width = int(config.get("num_hidden_layers", 24)), int(config.get("hidden_size", 1024))
    inner = int(config.get("intermediate_size") or 4 * width)
    heads = int(config.get("num_attention_heads") or 16)
    narrow = width * int(config.get("num_key_value_heads") or heads) // heads
    work = layers * (2 * width**2 + 2 * width * narrow + 3 * width * inner)
    words = int(config.get("vocab_size") or 50_000) * width
    rows = 4 * width + 2 * (width + narrow) + 3 * (width + inner)
    return {"layers": layers, "width": width, "inner": inner, "work": work, "weights": work + words, "rows": rows}


def _memory(shape: dict[str, int], trained: int, options: CausalOptions, device: Device, longest: int) -> int:
    """Weights, adapters with gradients and moments, and what a step keeps for its way back, in bytes."""
    wide = 4.0 if device.name == "cpu" else _BYTES[options.quantize]
    kept = shape["layers"] * (10 * shape["width"] + 4 * shape["inner"])
    if options.gradient_checkpointing:
        kept = shape["layers"] * shape["width"] + 10 * shape["width"] + 4 * shape["inner"]
    activations = (4 if device.name == "cpu" else 2) * kept * options.batch * longest
    return int(PROCESS_BYTES + wide * shape["weights"] + 16 * trained + activations)


def _problems(base: str, options: CausalOptions, device: Device) -> list[str]:
    problems = []
    if not reachable(base):
        problems.append(str(unavailable(base)))
    if device.name == "cpu" and options.precision in ("bf16", "fp16"):
        problems.append(f"Precision {options.precision} needs a GPU; set precision to auto or fp32.")
    if options.quantize != "none" and (device.name == "cpu" or not find_spec("bitsandbytes")):
        lacking = "a CUDA GPU" if device.name == "cpu" else "the package bitsandbytes"
        problems.append(f"Weights of {options.quantize} need {lacking}; set quantize to none.")
    return problems + device_problems(device)


def _notes(base: str, options: CausalOptions, device: Device, guessed: bool) -> list[str]:
    notes = []
    if guessed:
        notes.append(f"The base {base} is not on this machine yet: it will be downloaded.")
    if options.base != base:
        notes.append(f"The base is {base} on this machine.")
    if device.name == "cpu" and base != SMOLLM2:
        notes.append("Without a GPU a language model of this size needs many hours; smollm2 needs less.")
    notes.append("Only the adapter is saved: the model can be used where its base is.")
    return notes


def remedy(error: BaseException, options: CausalOptions) -> tuple[str, dict[str, Any]] | None:
    """Return (a sentence, the options to change) for a failed tuning that is known, else None."""
    if out_of_memory(error):
        return _smaller(options)
    return known_failure(error, SMOLLM2) if options.base == SMOLLM2 else _hub_failure(error, options.base)


def _smaller(options: CausalOptions) -> tuple[str, dict[str, Any]]:
    """Return what needs less memory: half the batch, then activations computed twice, then shorter texts."""
    if options.batch > 1:
        sentence = f"There was not enough memory for batches of {options.batch}; try half of that, added up twice."
        return sentence, {"batch": options.batch // 2, "accumulation": options.accumulation * 2}
    if not options.gradient_checkpointing:
        return "There was not enough memory; try computing activations twice.", {"gradient_checkpointing": True}
    shorter = max(options.max_tokens // 2, 8)
    return f"There was not enough memory; try reading {shorter} tokens of each text.", {"max_tokens": shorter}


def _hub_failure(error: BaseException, base: str) -> tuple[str, dict[str, Any]] | None:
    found = known_failure(error, base)
    if found and "base" in found[1]:
        return f"The base {base!r} could not be had from the model hub; smollm2 is installed.", {"base": SMOLLM2}
    return found
