"""Two looks inside a fine-tuned encoder: integrated gradients, and attention rolled out over its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.families._text_batches import Chunks, padded_chunks

if TYPE_CHECKING:
    import torch

STEPS = 32
"""Points on the way from an empty text to the text, at which the gradient is taken."""
Shares = npt.NDArray[np.float32]


def integrated_gradients(
    network: Any,
    chunks: Chunks,
    pad_id: int,
    device: str,
    column: int,
    answer: str,
    tokens_per_batch: int,
    steps: int = STEPS,
) -> Shares:
    """Return (tokens,) what each token of a text, chunks in a row, adds to the log-odds of a label's score.

    Integrated gradients (Sundararajan et al. 2017) of the word embeddings, by the midpoint rule. The way begins at the
    same text of padding tokens, special tokens in their places; the shares add up to the difference of the log-odds
    between text and padding, but for the error of the rule.

    Args:
        network: A text network in evaluation mode on `device`.
        chunks: The text's token ids, chunk by chunk.
        pad_id: The token that fills.
        device: Torch device name.
        column: The label's.
        answer: "one" or "many": what the label's log-odds are made of.
        tokens_per_batch: At most about this many tokens are read at once.
        steps: Points on the way, a count.
    """
    import torch

    matrix, mask = (torch.from_numpy(part).to(device) for part in padded_chunks([chunks], pad_id))
    table = network.backbone.get_input_embeddings()
    there = mask.reshape(-1, mask.shape[-1]).any(dim=1)
    ids = matrix.reshape(-1, matrix.shape[-1])[there]  # chunks that are there, as `states` reads them
    with torch.no_grad():
        text = table(ids)
        empty = torch.where(_special(ids, chunks)[..., None], text, table(torch.full_like(ids, pad_id)))
    total = torch.zeros_like(text)
    at_once = max(tokens_per_batch // max(ids.numel(), 1), 1)
    points = (torch.arange(steps, device=device) + 0.5) / steps
    for part in torch.split(points, at_once):
        way = empty + part[:, None, None, None] * (text - empty)
        way = way.reshape(-1, *text.shape[1:]).requires_grad_(True)
        many = (len(part), 1, 1)
        with _embedding(table, way):
            logits = network(matrix.repeat(many), mask.repeat(many))["logits"]
        (slope,) = torch.autograd.grad(_odds(logits.float(), column, answer).sum(), way)
        total += slope.reshape(len(part), *text.shape).sum(dim=0)
    shares = ((text - empty) * total / steps).sum(dim=-1)
    return _in_a_row(shares, mask, there)


def _odds(logits: torch.Tensor, column: int, answer: str) -> torch.Tensor:
    """Return (n,) log-odds of the label's score: the logit of a sigmoid, or what a softmax makes of all logits."""
    import torch

    if answer == "many" or logits.shape[1] < 2:
        return logits[:, column]
    others = torch.cat([logits[:, :column], logits[:, column + 1 :]], dim=1)
    return logits[:, column] - torch.logsumexp(others, dim=1)


def _special(ids: torch.Tensor, chunks: Chunks) -> torch.Tensor:
    """Return (chunks, tokens) bool: the first and the last token of each chunk, which frame it."""
    import torch

    frame = torch.zeros_like(ids, dtype=torch.bool)
    for at, chunk in enumerate(chunks):
        if len(chunk) > 2:
            frame[at, [0, len(chunk) - 1]] = True
    return frame


@contextmanager
def _embedding(table: Any, instead: torch.Tensor) -> Iterator[None]:
    """Let the embedding table give these vectors, whatever ids it is asked for."""
    hook = table.register_forward_hook(lambda *_: instead)
    try:
        yield
    finally:
        hook.remove()


def attention_rollout(network: Any, chunks: Chunks, pad_id: int, device: str, column: int) -> Shares:
    """Return (tokens,) how far each token, chunks in a row, is attended to above the mean token; 0 below it.

    Attention rollout (Abnar and Zuidema 2020): the mean over a layer's heads, half of it replaced by the residual
    stream, multiplied through the layers. What is asked of the last layer is what the head asks of it: the mean of the
    tokens, the first token of each chunk, or the label's own attention. Attention has no sign, so it says what was
    looked at, not whether it spoke for the label.

    Args:
        network: A text network in evaluation mode on `device`.
        chunks: The text's token ids, chunk by chunk.
        pad_id: The token that fills.
        device: Torch device name.
        column: The label's; it matters for label attention only.
    """
    import torch

    matrix, mask = (torch.from_numpy(part).to(device) for part in padded_chunks([chunks], pad_id))
    flat = mask.reshape(-1, mask.shape[-1])
    there = flat.any(dim=1)
    with torch.inference_mode(), _eager(network.backbone):
        read = network.backbone(
            input_ids=matrix.reshape(flat.shape)[there], attention_mask=flat[there], output_attentions=True
        )
        seen = flat[there].float()
        rolled = torch.eye(seen.shape[1], device=device).expand(len(seen), -1, -1)
        for layer in read.attentions:
            rolled = (0.5 * layer.float().mean(dim=1) + 0.5 * torch.eye(seen.shape[1], device=device)) @ rolled
        asked = _asked(network, read.last_hidden_state, seen, column)
        shares = (asked[:, None, :] @ rolled)[:, 0]
        # Tokens that frame a text draw much attention whatever it says: words are compared with words.
        words = seen * ~_special(matrix.reshape(flat.shape)[there], chunks)
        even = (shares * words).sum() / words.sum().clamp(min=1)
        return _in_a_row((shares - even).clamp(min=0) * words, mask, there)


def _asked(network: Any, states: torch.Tensor, seen: torch.Tensor, column: int) -> torch.Tensor:
    """Return (chunks, tokens) that sum to 1: how much of the answer is taken from each token of the last layer."""
    import torch

    if network.attends:
        attention = torch.tanh(network.head.keys(states)) @ network.head.queries[column]
        attention = attention.masked_fill(seen == 0, float("-inf"))
        found: torch.Tensor = torch.softmax(attention.reshape(-1), dim=0).reshape(seen.shape)
        return found
    if network.pooling == "cls":
        first = torch.zeros_like(seen)
        first[:, 0] = 1 / len(seen)
        return first
    return seen / seen.sum()


@contextmanager
def _eager(backbone: Any) -> Iterator[None]:
    """Let the backbone compute attention step by step: its fused form gives no weights out."""
    before = backbone.config._attn_implementation
    backbone.set_attn_implementation("eager")
    try:
        yield
    finally:
        backbone.set_attn_implementation(before)


def _in_a_row(shares: torch.Tensor, mask: torch.Tensor, there: torch.Tensor) -> Shares:
    """Return the values of the tokens that are no padding, chunks in a row."""
    seen = mask.reshape(-1, mask.shape[-1])[there].bool()
    found: Shares = shares.detach()[seen].float().cpu().numpy()
    return found
