"""What earlier models give to a picture network: scores to learn from (distillation), or weights to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench.errors import MedbenchError, Stopped
from medbench.families import Fitting, Surroundings
from medbench.families._earlier import Earlier, check_unseen, find, load
from medbench.families._vision_cost import CARD
from medbench.families._vision_networks import Criterion, Shape
from medbench.families._vision_pictures import N_FACTS
from medbench.families._vision_weights import WEIGHTS, unpacked
from medbench.records import AnswerKind, Examples, Scores
from medbench.workspace import read_json, undamaged

if TYPE_CHECKING:
    import torch

    from medbench.families._vision_options import VisionOptions

TEACHER, START = "the teacher", "the network to start from"
# What must agree before weights fit; a convolutional network takes them at any size, and dropout has none.
_SAME = ("base", "n_labels", "attention", "pooling", "multi_scale", "n_facts", "batch_norm")
_AT_ONCE = 256
_EPSILON = 1e-6


def shape_of(options: VisionOptions, n_labels: int) -> Shape:
    """Return what the network that the options describe looks like."""
    return Shape(
        options.base,
        options.size,
        n_labels,
        options.attention,
        options.pooling,
        options.multi_scale,
        N_FACTS if options.metadata else 0,
        options.dropout,
        options.batch_norm,
    )


def teacher_of(options: VisionOptions, around: Surroundings, like: Examples) -> Earlier | None:
    """Return the teacher's card, None when the options name none.

    Raises:
        MedbenchError: It is unknown, of another dataset, answers otherwise, or knows more than the train split.
    """
    if not options.teacher:
        return None
    found = find(around, options.teacher, TEACHER, like)
    check_unseen(found, TEACHER)
    return found


def starts_of(options: VisionOptions, around: Surroundings, like: Examples) -> list[Earlier]:
    """Return the cards of the networks whose mean weights are started from, none when the options name none.

    Raises:
        MedbenchError: As for `teacher_of`, one is no picture network or has other parts, or none is the first.
    """
    if not options.start_from:
        if options.average_with or not options.epochs:
            what = "to average others with" if options.average_with else "to judge, because no epochs are asked for"
            raise MedbenchError(f"{START} {what}", "none", "Name it in start_from.")
        return []
    return [_start(name, options, around, like) for name in dict.fromkeys([options.start_from, *options.average_with])]


def _start(name: str, options: VisionOptions, around: Surroundings, like: Examples) -> Earlier:
    found = find(around, name, START, like)
    check_unseen(found, START)
    if found.family != "vision":
        raise MedbenchError(
            f"a picture network as {START}", f"{found.id!r}, of the family {found.family}", "Choose another, or none."
        )
    theirs, ours = _shape_there(found), shape_of(options, len(like.labels))
    other = [f"{name} {theirs.get(name)!r}" for name in _SAME if theirs.get(name) != getattr(ours, name)]
    if other:
        raise _misfit(found, other)
    return found


def _shape_there(start: Earlier) -> dict[str, Any]:
    with undamaged(start.folder, "model"):
        return dict(read_json(start.folder / CARD)["shape"])


def _misfit(start: Earlier, other: list[str]) -> MedbenchError:
    return MedbenchError(
        f"{START} to have the same base and parts",
        f"{start.id!r} with {', '.join(other)}",
        "Set these options as they were there, or choose another network.",
    )


def soft_labels(teacher: Earlier, examples: Examples, fitting: Fitting) -> Scores:
    """Return the teacher's scores of the training pictures, (n, L) float32, mean over its views of each whole picture.

    Raises:
        Stopped: The user stopped it.
        MedbenchError: The teacher cannot be loaded.
    """
    model, _ = load(teacher, fitting.device)
    total, parts = len(examples), [np.zeros((0, len(examples.labels)), dtype=np.float32)]
    for at in range(0, total, _AT_ONCE):
        if fitting.say.stopping:
            raise Stopped
        sentence = f"The teacher, {teacher.name}, reads {total:,} pictures."
        fitting.say("progress", step=at, steps=total, sentence=sentence)
        parts.append(model.scores(examples.items[at : at + _AT_ONCE]))
    return np.concatenate(parts)


def distilled(criterion: Criterion, weight: float, temperature: float, answer: AnswerKind) -> Criterion:
    """Return a loss that also follows a teacher (Hinton et al. 2015), with the teacher's scores as third argument.

    (1 - weight) x the given loss + weight x T^2 x KL(teacher || student), both softened by the temperature T; for
    "many" the divergence is the mean over the labels. Without scores of a teacher (validation) it is the given loss.
    """
    from torch.nn import functional

    def loss(logits: torch.Tensor, labels: torch.Tensor, soft: torch.Tensor | None = None) -> torch.Tensor:
        if soft is None:
            return criterion(logits, labels)
        chance = soft.clamp(_EPSILON, 1 - _EPSILON)
        if answer == "one":
            taught = functional.log_softmax(chance.log() / temperature, dim=1)
            said = functional.log_softmax(logits / temperature, dim=1)
            apart = functional.kl_div(said, taught, reduction="batchmean", log_target=True)
        else:
            target = (chance.logit() / temperature).sigmoid()
            own = functional.binary_cross_entropy_with_logits(logits / temperature, target)
            apart = own - functional.binary_cross_entropy(target, target)
        followed = weight * temperature**2 * apart
        return followed if weight == 1 else (1 - weight) * criterion(logits, labels) + followed

    return loss


def fill(network: Any, starts: Sequence[Earlier]) -> None:
    """Put the mean of the weights that earlier runs left into a network of the same parts, in place.

    The mean of networks that began at the same weights lies in the same valley, and is often better than each of them
    (Wortsman et al. 2022, "Model soups").

    Raises:
        MedbenchError: They belong to another size of picture, or the files are missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    mean: dict[str, torch.Tensor] = {}
    for start in starts:
        with undamaged(start.folder, "model", SafetensorError):
            kept = unpacked(load_file(start.folder / WEIGHTS))
        try:
            network.load_state_dict(kept)
        except RuntimeError as error:  # positions of a transformer's patches belong to one size
            raise _misfit(start, [f"size {_shape_there(start).get('size')!r}"]) from error
        for name, values in kept.items():
            mean[name] = mean.get(name, 0) + values.double() / len(starts)
    # What is counted, not learnt (batches seen), is cut to whole numbers as it is copied.
    network.load_state_dict(mean)


def notes_of(options: VisionOptions, teacher: Earlier | None, starts: Sequence[Earlier]) -> list[str]:
    """Return what the card says of the models that were built on, one sentence each."""
    told = []
    if teacher is not None:
        told.append(
            f"It learnt from the scores of {teacher.name} ({teacher.id}) as well as from the labels: their share of "
            f"the loss was {options.teacher_weight:g}, softened by a temperature of {options.temperature:g}."
        )
    if starts:
        named = ", ".join(f"{start.name} ({start.id})" for start in starts)
        mean = "the mean of the weights" if len(starts) > 1 else "the weights"
        told.append(f"Its training began with {mean} of {named}." if options.epochs else f"It is {mean} of {named}.")
    return told
