"""What reading texts with a frozen encoder will cost, and what to do when it failed. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medbench.families import CHEAP_FITS, Estimate
from medbench.families._bases import configuration, reachable, unavailable
from medbench.families._encoder_cost import (
    BERT_BASE,
    PROCESS_BYTES,
    base_shape,
    device_problems,
    known_failure,
    out_of_memory,
    reading_seconds,
    token_lengths,
)
from medbench.families._networks import longest_input
from medbench.records import Device, Examples

if TYPE_CHECKING:
    from medbench.families.embedding import EmbeddingOptions

# Seconds a text for one head on two CPU cores.
_SECONDS_HEAD = 0.001


def estimate(train: Examples, options: EmbeddingOptions, device: Device) -> Estimate:
    """Estimate what reading every text once and fitting a head on the vectors costs."""
    config = configuration(options.base)
    shape = base_shape(config or BERT_BASE)
    window = min(options.max_tokens, longest_input(config) if config else 512)
    limit = window * options.windows
    lengths = token_lengths(train.items, options.base)
    tokens = float(np.minimum(lengths, limit).mean()) * len(train) if len(lengths) else 0.0
    heads = _SECONDS_HEAD * len(train) * (options.networks if options.head == "mlp" else 1)
    vectors = 4 * 5 * shape["width"] * len(train)
    problems = [] if reachable(options.base) else [str(unavailable(options.base))]
    return Estimate(
        seconds=round(1.1 * reading_seconds(options.base, tokens, device) + 20 + CHEAP_FITS * heads, 1),
        memory=PROCESS_BYTES + 4 * shape["weights"] + 4 * vectors,
        disk=4_000_000,
        cut=float((lengths > limit).mean()) if len(lengths) else 0.0,
        problems=tuple(problems + device_problems(device)),
    )


def remedy(error: BaseException, options: EmbeddingOptions) -> tuple[str, dict[str, Any]] | None:
    """Return (a sentence, the options to change) for a failed reading that is known, else None."""
    if out_of_memory(error):
        fewer = max(options.tokens_per_batch // 2, 16)
        return f"There was not enough memory; try batches of {fewer:,} tokens.", {"tokens_per_batch": fewer}
    return known_failure(error, options.base)
