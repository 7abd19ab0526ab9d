"""Heads on frozen vectors: a small network, a linear support vector machine, logistic regression. Arrays in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from medbench.errors import Stopped
from medbench.events import Say
from medbench.records import AnswerKind, Truth

if TYPE_CHECKING:
    from medbench.families.embedding import EmbeddingOptions

Head = Literal["mlp", "svm", "logistic"]
Array = npt.NDArray[np.float32]
Arrays = dict[str, Array]
# How much the data weigh against small weights, by cross-validation on OHSUMED (6,286 abstracts, 23 labels).
STRENGTH: dict[str, float] = {"svm": 0.1, "logistic": 2.0}
_SMALLEST_SPREAD = 1e-3
_EPOCHS, _FEWEST_STEPS, _BATCH, _RATE, _DECAY, _LARGEST_LIFT = 15, 300, 64, 1e-3, 0.01, 10.0


def fit_head(
    vectors: Array, truth: Truth, answer: AnswerKind, options: EmbeddingOptions, rng: np.random.Generator, say: Say
) -> Arrays:
    """Fit the head that the options name on (n, d) vectors; returns the arrays that `margins` needs.

    Raises:
        Stopped: When the user stopped it.
    """
    centre = vectors.mean(axis=0)
    inputs = vectors - centre
    if options.head == "mlp":
        spread = np.maximum(inputs.std(axis=0), _SMALLEST_SPREAD)
        found = _fit_networks(inputs / spread, truth, answer, options, rng, say)
        # The network read standardised vectors; its weights are made to read the vectors as they are.
        # They are saved in half precision, so they are used in half precision from the start.
        inner = (found["inner_weight"] / spread[:, None]).astype(np.float16).astype(np.float32)
        return {**found, "inner_weight": inner, "inner_bias": found["inner_bias"] - centre @ inner}
    strength = options.C or STRENGTH[options.head]
    softmax = answer == "one" and options.head == "logistic"
    found = fit_linear(inputs, truth, options.head, strength, options.balance, softmax, say)
    return {"weight": found["weight"], "bias": found["bias"] - centre @ found["weight"]}


def margins(arrays: Arrays, vectors: Array) -> Array:
    """Return (n, n_labels) float32 margins (hinge) or logits of a fitted head for (n, d) vectors."""
    if "inner_weight" in arrays:
        vectors = np.maximum(vectors @ arrays["inner_weight"] + arrays["inner_bias"], 0)
    out: Array = (vectors @ arrays["weight"] + arrays["bias"]).astype(np.float32)
    return out


def fit_linear(
    vectors: Array, truth: Truth, loss: str, strength: float, balance: float, softmax: bool, say: Say
) -> Arrays:
    """Fit all labels of a linear head at once by L-BFGS.

    Args:
        vectors: (n, d) float32.
        truth: (n, n_labels) bool.
        loss: "svm" is the squared hinge of each label against the rest, "logistic" the log loss.
        strength: The C of both: how much the data weigh against small weights.
        balance: Exponent of inverse frequency with which positives and negatives are weighted; 0 counts all alike.
        softmax: True for one multinomial model instead of a binary one per label ("logistic" only).
        say: Where a stop is heard.

    Returns:
        "weight" (d, n_labels) and "bias" (n_labels,).

    Raises:
        Stopped: When the user stopped it.
    """
    from scipy.optimize import minimize

    n, d = vectors.shape
    k = truth.shape[1]
    sign = np.where(truth, 1.0, -1.0).astype(np.float32)
    positive, negative = truth.sum(axis=0).clip(1), (~truth).sum(axis=0).clip(1)
    weights = np.where(truth, (n / (2 * positive)) ** balance, (n / (2 * negative)) ** balance).astype(np.float32)
    if softmax:
        weights = (weights * truth).sum(axis=1, keepdims=True)

    def cost(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        if say.stopping:
            raise Stopped
        weight = flat[: d * k].reshape(d, k).astype(np.float32)
        found = vectors @ weight + flat[d * k :].astype(np.float32)
        value, slope = _loss(found, truth, sign, weights, "softmax" if softmax else loss)
        grad = np.concatenate([(strength * (vectors.T @ slope) + weight).ravel(), strength * slope.sum(axis=0)])
        return strength * value + 0.5 * float(np.square(weight).sum()), grad.astype(np.float64)

    start = np.zeros(d * k + k)
    flat = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 200, "maxcor": 10}).x
    return {"weight": flat[: d * k].reshape(d, k).astype(np.float32), "bias": flat[d * k :].astype(np.float32)}


def _loss(found: Array, truth: Truth, sign: Array, weights: Array, loss: str) -> tuple[float, Array]:
    """Return the summed loss and its slope by margin."""
    if loss == "softmax":
        shifted = found - found.max(axis=1, keepdims=True)
        log_chance = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return float(-(weights * log_chance * truth).sum()), (weights * (np.exp(log_chance) - truth)).astype(np.float32)
    signed = sign * found
    if loss == "svm":
        short = np.maximum(1 - signed, 0)
        return float((weights * short * short).sum()), (-2 * weights * short * sign).astype(np.float32)
    slope = -weights * sign * 0.5 * (1 - np.tanh(0.5 * signed))
    return float((weights * np.logaddexp(0, -signed)).sum()), slope.astype(np.float32)


def _fit_networks(
    inputs: Array, truth: Truth, answer: AnswerKind, options: EmbeddingOptions, rng: np.random.Generator, say: Say
) -> Arrays:
    """Fit networks with one hidden layer and put them side by side in one, whose output is their mean."""
    import torch

    each = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(options.networks):
            torch.manual_seed(int(rng.integers(2**31 - 1)))
            each.append(_fit_network(inputs, truth, answer, options, say))
    return {
        "inner_weight": np.concatenate([one["inner_weight"] for one in each], axis=1),
        "inner_bias": np.concatenate([one["inner_bias"] for one in each]),
        "weight": np.concatenate([one["weight"] for one in each]) / len(each),
        "bias": np.mean([one["bias"] for one in each], axis=0),
    }


def _fit_network(inputs: Array, truth: Truth, answer: AnswerKind, options: EmbeddingOptions, say: Say) -> Arrays:
    """Fit one hidden layer with dropout by AdamW and a one-cycle rate; rare labels are lifted by `balance`."""
    import torch
    from torch import nn
    from torch.nn import functional

    x, y = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(truth.astype(np.float32))
    counts = np.maximum(truth.sum(axis=0), 1)
    common = len(truth) / (truth.shape[1] * counts) if answer == "one" else (len(truth) - counts) / counts
    lowest = 1 / _LARGEST_LIFT if answer == "one" else 1.0
    lift = torch.from_numpy(np.clip(common**options.balance, lowest, _LARGEST_LIFT).astype(np.float32))
    inner, outer = nn.Linear(x.shape[1], options.hidden), nn.Linear(options.hidden, y.shape[1])
    network = nn.Sequential(nn.Dropout(0.2), inner, nn.ReLU(), nn.Dropout(0.5), outer)
    per_epoch = -(-len(x) // _BATCH)
    epochs = max(_EPOCHS, -(-_FEWEST_STEPS // per_epoch))
    solver: Any = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    rate: Any = torch.optim.lr_scheduler.OneCycleLR(solver, _RATE, total_steps=epochs * per_epoch + 1)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for at in range(0, len(x), _BATCH):
            if say.stopping:
                raise Stopped
            rows = order[at : at + _BATCH]
            logits = network(x[rows])
            if answer == "one":
                loss: Any = functional.cross_entropy(logits, y[rows].argmax(dim=1), weight=lift)
            else:
                loss = functional.binary_cross_entropy_with_logits(logits, y[rows], pos_weight=lift)
            solver.zero_grad()
            loss.backward()
            solver.step()
            rate.step()
    return {
        "inner_weight": inner.weight.detach().numpy().T,
        "inner_bias": inner.bias.detach().numpy(),
        "weight": outer.weight.detach().numpy().T,
        "bias": outer.bias.detach().numpy(),
    }
