"""Help for rare labels while a network is trained: weighted losses, focal loss, drawing rare items more often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medbench.families._training_options import TrainingOptions
from medbench.records import AnswerKind, Truth

if TYPE_CHECKING:
    import torch

    from medbench.families._networks import Criterion

_LARGEST_WEIGHT = 10.0


def rarity_weights(truth: Truth, power: float = 0.5) -> npt.NDArray[np.float64]:
    """Return (n,) drawing weights that sum to 1: the mean over an item's labels of 1 / (label count ** power)."""
    rare = 1 / np.maximum(truth.sum(axis=0), 1) ** power
    labelled = truth.sum(axis=1)
    weights = np.where(labelled > 0, (truth * rare).sum(axis=1) / np.maximum(labelled, 1), rare.min(initial=1.0))
    share: npt.NDArray[np.float64] = weights / weights.sum()
    return share


def make_criterion(options: TrainingOptions, truth: Truth, answer: AnswerKind) -> Criterion:
    """Return the loss: binary cross-entropy per label ("many") or cross-entropy ("one"), (n, L) logits and truth.

    "class_weights" weighs by the square root of inverse frequency, at most 10; "focal" is the loss of Lin et al. 2017.
    """
    import torch
    from torch.nn import functional

    counts = np.maximum(truth.sum(axis=0), 1).astype(np.float64)
    ratio = (len(truth) - counts) / counts if answer == "many" else len(truth) / (truth.shape[1] * counts)
    weighted = options.imbalance == "class_weights"
    lowest = 1.0 if answer == "many" else 1 / _LARGEST_WEIGHT
    balance = np.clip(np.sqrt(ratio), lowest, _LARGEST_WEIGHT) if weighted else np.ones_like(ratio)
    weight = torch.tensor(balance, dtype=torch.float32)
    gamma = options.focal_gamma if options.imbalance == "focal" else 0.0

    def many(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        pos_weight = weight.to(logits.device)
        each = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=pos_weight, reduction="none")
        if gamma:
            chance = torch.sigmoid(logits)
            each = each * (labels * (1 - chance) + (1 - labels) * chance) ** gamma
        return each.mean()

    def one(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        target = labels.argmax(dim=1)
        log_chance = functional.log_softmax(logits, dim=1).gather(1, target[:, None])[:, 0]
        importance = weight.to(logits.device)[target]
        each = -log_chance * (1 - log_chance.exp()) ** gamma if gamma else -log_chance
        return (each * importance).sum() / importance.sum()

    return many if answer == "many" else one


def smoothed(criterion: Criterion, share: float, answer: AnswerKind) -> Criterion:
    """Return a loss that believes `share` (0-1) less in the truth and spreads it over all labels (Szegedy 2016)."""
    from torch.nn import functional

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        spread = -functional.log_softmax(logits, dim=1).mean()
        return (1 - share) * criterion(logits, labels) + share * spread

    return loss if share and answer == "one" else criterion
