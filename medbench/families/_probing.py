"""What a base knows before it is tuned: an output layer fitted on the vectors of the unchanged network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.records import Truth

if TYPE_CHECKING:
    import torch


def fit_line(line: Any, criterion: Any, vectors: npt.NDArray[np.float32], truth: Truth, decay: float = 3e-3) -> None:
    """Minimise a loss over a linear layer by L-BFGS on standardised vectors.

    Args:
        line: A torch layer with "weight" (n_labels, d) and "bias", which are set.
        criterion: Loss of (n, n_labels) logits and float truth.
        vectors: (n, d) what the layer reads.
        truth: (n, n_labels) bool.
        decay: Pulls the weights to 0.
    """
    import torch

    device = line.weight.device
    inputs = torch.from_numpy(vectors).to(device)
    target = torch.from_numpy(truth.astype(np.float32)).to(device)
    mean, spread = inputs.mean(0), inputs.std(0, unbiased=False).clamp(min=1e-3)
    inputs = (inputs - mean) / spread
    weight = torch.zeros_like(line.weight, requires_grad=True)
    bias = torch.zeros_like(line.bias, requires_grad=True)
    solver: Any = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = criterion(inputs @ weight.T + bias, target) + decay * weight.square().sum() / len(weight)
        value.backward()
        return value  # type: ignore[no-any-return]

    solver.step(loss)
    with torch.no_grad():
        line.weight.copy_(weight / spread)
        line.bias.copy_(bias - (weight / spread) @ mean)


def some_rows(truth: Truth, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return at most so many rows, ascending, drawn so that a row counts as much as its rarest label is rare.

    Args:
        truth: (n, n_labels) bool; a row without labels counts as the commonest label does.
        most: Rows wanted; all when there are no more.
        rng: Draws them.
    """
    n = len(truth)
    if n <= most:
        return np.arange(n)
    rare = 1 / np.maximum(truth.sum(axis=0), 1)
    weight = np.where(truth, rare, 0.0).max(axis=1, initial=0.0)
    weight = np.maximum(weight, rare.min(initial=1.0))
    return np.sort(rng.choice(n, most, replace=False, p=weight / weight.sum())).astype(np.int64)
