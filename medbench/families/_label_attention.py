"""Label attention: every label looks at all tokens of a text and picks its own; and which words it picked.

Mullenbach et al. 2018 (one attention per label), Vu et al. 2020 (through a hidden layer), Huang et al. 2022 (over the
chunks of a long note, PLM-ICD).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import word_spans
from medbench.records import Span

if TYPE_CHECKING:
    import torch

# Label vectors are (n, labels, d): with thousands of labels they are made and used up by so many labels at a time.
BLOCK = 1024
# Attention begins almost even, so that a head fitted on mean vectors starts it well (Vu et al. use the same spread).
_SPREAD = 0.03
_MARKED = 32


class _Attending:
    """What a label attention computes; joined with torch's Module in `label_attention`.

    For token states h_t, label l: a_lt = softmax over t of u_l . tanh(W h_t); logit_l = w_l . sum_t a_lt h_t + b_l.
    """

    block: int
    keys: Any
    queries: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (n, n_labels) logits of (n, tokens, d) states; tokens whose mask is 0 are not seen."""
        import torch
        from torch.nn import functional

        keys, values = torch.tanh(self.keys(states)).unsqueeze(1), states.unsqueeze(1)
        seen = attention_mask.bool()[:, None, None, :]
        logits = []
        for at in range(0, len(self.bias), self.block):
            queries, weight = self.queries[at : at + self.block], self.weight[at : at + self.block]
            # The fused attention never holds labels x tokens; as wide as the states, it has a fused form on a CPU too.
            asked = queries.expand(len(states), 1, -1, -1)
            vectors = functional.scaled_dot_product_attention(asked, keys, values, attn_mask=seen, scale=1.0)[:, 0]
            logits.append((vectors * weight).sum(-1))
        return torch.cat(logits, dim=1) + self.bias

    def shares(self, states: torch.Tensor, column: int) -> torch.Tensor:
        """Return (tokens,) what each of a text's (tokens, d) states adds to one label's logit.

        The attention times how far the token's own logit is above the mean token's (attention weighed by its value,
        Kobayashi et al. 2020): 0 for all where the label looks nowhere, or where it finds the same everywhere.
        """
        import torch

        attention = torch.softmax(torch.tanh(self.keys(states)) @ self.queries[column], dim=0)
        own = states @ self.weight[column]
        return attention * (own - own.mean())


def label_attention(width: int, n_labels: int, block: int = BLOCK) -> Any:
    """Return a torch module: (n, tokens, `width`) states and their mask -> (n, n_labels) logits.

    Its `weight` (n_labels, width) and `bias` are a linear layer's on each label's own vector. `block` labels at a time
    are worked on: fewer take less memory, and the logits are the same.
    """
    import torch
    from torch import nn

    class LabelAttention(_Attending, nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.in_features, self.block = width, block
            self.keys = nn.Linear(width, width, bias=False)
            self.queries = nn.Parameter(torch.randn(n_labels, width) * _SPREAD)
            self.weight = nn.Parameter(torch.empty(n_labels, width).uniform_(-(width**-0.5), width**-0.5))
            self.bias = nn.Parameter(torch.zeros(n_labels))

    return LabelAttention()


def word_marks(
    text: str, places: Sequence[tuple[int, int]], shares: npt.NDArray[np.float32], most: int | None = _MARKED
) -> tuple[Span, ...]:
    """Return the words that the shares of their tokens fall on, in text order.

    Args:
        text: The original text.
        places: [start, end) of each token in it; empty for special tokens.
        shares: (tokens,) what each token adds to the label's log-odds; a word gets the sum of its tokens.
        most: So many of the strongest words are returned, a count; None returns all.
    """
    words = word_spans(text)
    if not words:
        return ()
    starts, weights = np.array([start for start, _ in words]), np.zeros(len(words))
    for (start, end), share in zip(places, shares, strict=True):
        # By its last character: tokens of some bases begin with the space before the word.
        at = int(np.searchsorted(starts, end - 1, side="right")) - 1
        if start < end and at >= 0 and end <= words[at][1]:
            weights[at] += share
    strongest = set(np.argsort(-np.abs(weights), kind="stable")[:most].tolist())
    marked = [(start, end, float(weights[at])) for at, (start, end) in enumerate(words) if at in strongest]
    return tuple(Span(start, end, weight) for start, end, weight in marked if weight)
