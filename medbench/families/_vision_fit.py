"""Fitting and loading the picture network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError, Stopped
from medbench.families import Fitting
from medbench.families import _vision_former as former
from medbench.families._earlier import Earlier
from medbench.families._imbalance import make_criterion, smoothed
from medbench.families._networks import probabilities
from medbench.families._probing import fit_line, some_rows
from medbench.families._training import Training, train
from medbench.families._vision_bias import PICTURES, packed_network
from medbench.families._vision_cost import CARD, START_PICTURES, read_size_of
from medbench.families._vision_networks import Criterion, Shape, picture_network, timm_base
from medbench.families._vision_pictures import Pixels, as_tensor, changing, facts_of, read_squares
from medbench.families._vision_weights import WEIGHTS, Format, imagenet_base, packaged, sha256_of, unpacked
from medbench.records import Examples, Scores, part_image
from medbench.workspace import read_json

if TYPE_CHECKING:
    import torch

    from medbench.families._vision_options import VisionOptions

# Base and head rates of AdamW by tuning EfficientNet-Lite0; transformers want smaller steps.
RATES, _TRANSFORMER_RATES = (1e-3, 2e-3), (1e-4, 1e-3)
_SHOWN = 8
_AT_ONCE = 64
Fitted = tuple[Any, dict[str, Any], dict[str, Any]]
"""Network in evaluation mode, card, tensors as they are kept."""


def fit_network(examples: Examples, validation: Examples, options: VisionOptions, fitting: Fitting) -> Fitted:
    """Fine-tune a picture network; see `Vision.fit`."""
    import torch

    torch.manual_seed(int(fitting.rng.integers(2**31 - 1)))
    teacher = former.teacher_of(options, fitting.around, examples)
    starts = former.starts_of(options, fitting.around, examples)
    shape = former.shape_of(options, len(examples.labels))
    network = picture_network(shape, _base(options), _criterion(options, examples))
    if starts:
        former.fill(network, starts)
    read_size = _read_size(network, options)
    if fitting.device.name == "cpu":
        network = network.to(memory_format=torch.channels_last)
    if options.epochs:
        looked = _trained(network, shape, examples, validation, options, fitting, teacher, read_size)
    else:
        network, looked = network.to(fitting.device.name), _read(validation, read_size, None, fitting)
    kept = _kept(network, options.keep, options.metadata, looked, validation.items)
    card = _card(examples, options, shape, read_size) | {"notes": former.notes_of(options, teacher, starts)}
    return _filled(card, kept, fitting.device.name), card, kept


def _trained(
    network: Any,
    shape: Shape,
    examples: Examples,
    validation: Examples,
    options: VisionOptions,
    fitting: Fitting,
    teacher: Earlier | None,
    read_size: int,
) -> Pixels:
    """Fine-tune the network in place, and return the validation pictures as they are read."""
    _say_first_batch(examples, fitting)
    folder = fitting.checkpoints
    files = [folder.parent / f"pixels-{part}.npy" if folder else None for part in ("train", "validation")]
    soft = former.soft_labels(teacher, examples, fitting) if teacher is not None else None
    try:
        pixels = _read(examples, max(round(options.size * 1.25), read_size), files[0], fitting)
        looked = _read(validation, read_size, files[1], fitting)
        job = _job(network, shape, pixels, looked, examples, validation, options, soft)
        train(job, options, fitting)
    finally:
        for file in files:
            if file is not None:
                file.unlink(missing_ok=True)
    return looked


def start_network(examples: Examples, options: VisionOptions, fitting: Fitting) -> Fitted | None:
    """Return what the fit starts from: former networks, or the unchanged base with a head fitted on some pictures.

    None for random weights, which know nothing, and where nothing is trained.
    """
    import torch

    nothing = options.weights == "random" and not options.start_from
    if nothing or not options.epochs or not len(examples):
        return None
    torch.manual_seed(int(fitting.rng.integers(2**31 - 1)))
    starts, n = former.starts_of(options, fitting.around, examples), len(examples)
    shape = former.shape_of(options, len(examples.labels))
    network = picture_network(shape, _base(options), make_criterion(options, examples.truth, examples.answer))
    read_size = _read_size(network, options)
    note = "“Before tuning” is the network that the training started from, as it is."
    if starts:
        former.fill(network, starts)
        network.to(fitting.device.name).eval()
    else:
        rows = some_rows(examples.truth, START_PICTURES, fitting.rng)
        some = [examples.items[row] for row in rows]
        vectors = _vectors(network.to(fitting.device.name).eval(), some, read_size, options.metadata, fitting)
        fit_line(network.head[-1], network.criterion, vectors, examples.truth[rows])
        told = f"all {n:,}" if len(rows) == n else f"{len(rows):,} of {n:,}"
        note = f"“Before tuning” is the unchanged base with an output layer fitted on {told} training pictures."
    card = _card(examples, options, shape, read_size) | {"notes": [note]}
    return network.requires_grad_(False), card, {}


def _vectors(
    network: Any, items: Sequence[str], size: int, metadata: bool, fitting: Fitting
) -> npt.NDArray[np.float32]:
    """Return (n, d) what lies under the head of a network, a few pictures at a time.

    Raises:
        Stopped: The user stopped it.
    """
    import torch

    parts, total = [], len(items)
    for at in range(0, total, _AT_ONCE):
        if fitting.say.stopping:
            raise Stopped
        sentence = f"The base before tuning reads {total:,} training pictures."
        fitting.say("progress", step=at, steps=total, sentence=sentence)
        part, device = items[at : at + _AT_ONCE], fitting.device.name
        facts = torch.from_numpy(facts_of(part)).to(device) if metadata else None
        with torch.inference_mode():
            parts.append(network.pooled(as_tensor(read_squares(part, size)).to(device), facts).float().cpu().numpy())
    return np.concatenate(parts)


def _card(examples: Examples, options: VisionOptions, shape: Shape, read_size: int) -> dict[str, Any]:
    weights = "former" if options.start_from else options.weights
    return {
        "version": 1,
        "labels": list(examples.labels),
        "answer": examples.answer,
        "shape": {name: getattr(shape, name) for name in Shape.__slots__},
        "weights": weights,
        "base_sha256": sha256_of(packaged(options.base)) if weights == "imagenet" else "",
        "read_size": read_size,
        "metadata": options.metadata,
        "views": options.views,
        "keep": options.keep,
    }


def _kept(network: Any, kind: Format, metadata: bool, pixels: Pixels, items: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the tensors as they are kept; pictures from all over the given ones say how biases are corrected."""
    import torch

    rows = _spread_out(len(pixels))
    if not rows:
        return packed_network(network, kind)
    facts = torch.from_numpy(facts_of([items[row] for row in rows])) if metadata else None
    return packed_network(network.eval(), kind, as_tensor(pixels[rows]), facts)


def _spread_out(n: int) -> list[int]:
    """Return at most `PICTURES` positions from all over n."""
    found: list[int] = np.linspace(0, n - 1, min(PICTURES, n)).astype(int).tolist()
    return found


def packed_model(network: Any, card: dict[str, Any], items: Sequence[str]) -> tuple[Any, dict[str, Any], Any, str]:
    """Return network, card, tensors and device of the same model with its weights in 8 bits.

    Args:
        network: A network in evaluation mode.
        card: Its card.
        items: Pictures that say how biases are corrected; `PICTURES` from all over are read.
    """
    some = [items[row] for row in _spread_out(len(items))]
    kept = _kept(network, "int8", card["metadata"], read_squares(some, int(card["read_size"])), some)
    card = {**card, "keep": "int8"}
    return _filled(card, kept, "cpu"), card, kept, "cpu"


def _read_size(network: Any, options: VisionOptions) -> int:
    if not hasattr(network.base, "patch_embed"):
        return read_size_of(options)
    if options.read_size not in (None, options.size):
        raise MedbenchError(
            f"read_size {options.size}, because a transformer reads at the size it is trained at",
            repr(options.read_size),
            "Leave read_size empty.",
        )
    return options.size


def _base(options: VisionOptions) -> Any:
    if options.weights == "imagenet" and not options.start_from:
        return imagenet_base(options.base, options.size)
    return timm_base(options.base, options.size)


def _criterion(options: VisionOptions, examples: Examples) -> Criterion:
    loss = smoothed(make_criterion(options, examples.truth, examples.answer), options.smoothing, examples.answer)
    if not options.teacher:
        return loss
    return former.distilled(loss, options.teacher_weight, options.temperature, examples.answer)


def _read(examples: Examples, size: int, keep: Path | None, fitting: Fitting) -> Pixels:
    total = len(examples)

    def say(done: int) -> None:
        if fitting.say.stopping:
            raise Stopped
        fitting.say("progress", step=done, steps=total, sentence=f"Reading {total:,} pictures at {size} pixels.")

    return read_squares(examples.items, size, keep, say)


def _job(
    network: Any,
    shape: Shape,
    pixels: Pixels,
    looked: Pixels,
    examples: Examples,
    validation: Examples,
    options: VisionOptions,
    soft: Scores | None,
) -> Training:
    facts, facts_looked = facts_of(examples.items), facts_of(validation.items)
    rates = _TRANSFORMER_RATES if getattr(network.base, "num_prefix_tokens", None) is not None else RATES
    change = changing(options)

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        rows, training = [item["row"] for item in items], "looked" not in items[0]
        if not training:
            batch = as_tensor(looked[rows])
        else:
            batch = change(torch.from_numpy(np.ascontiguousarray(pixels[rows])).permute(0, 3, 1, 2))
        truth = np.stack([item["labels"] for item in items]).astype(np.float32)
        made = {"pixels": batch, "labels": torch.from_numpy(truth)}
        if shape.n_facts:
            made["facts"] = torch.from_numpy((facts if training else facts_looked)[rows])
        if training and soft is not None:
            made["soft"] = torch.from_numpy(soft[rows])
        return made

    return Training(
        network=network,
        collate=collate,
        train=[{"row": row, "labels": truth} for row, truth in enumerate(examples.truth)],
        lengths=[1] * len(examples),
        train_truth=examples.truth,
        validation=[{"row": row, "labels": truth, "looked": True} for row, truth in enumerate(validation.truth)],
        rows=list(range(len(validation))),
        texts=[Path(part_image(item)[0]).name for item in validation.items],
        truth=validation.truth,
        labels=examples.labels,
        answer=examples.answer,
        rates=(options.learning_rate or rates[0], options.head_learning_rate or rates[1]),
        to_scores=lambda logits: probabilities(logits, examples.answer),
        identity=_identity(examples, shape),
        whole=True,
        frozen_epochs=options.frozen_epochs,
    )


def _identity(examples: Examples, shape: Shape) -> str:
    """Return a digest of the training pictures' names, their labels and the shape of what is trained."""
    digest = hashlib.blake2b(np.packbits(examples.truth).tobytes(), digest_size=16)
    for item in examples.items:
        digest.update(Path(part_image(item)[0]).name.encode() + b"|")
    digest.update(json.dumps([getattr(shape, name) for name in Shape.__slots__]).encode())
    return digest.hexdigest()


def _say_first_batch(examples: Examples, fitting: Fitting) -> None:
    """Say the names and diagnoses of the first pictures."""
    rows = []
    for item, truth in zip(examples.items[:_SHOWN], examples.truth[:_SHOWN], strict=True):
        path, facts = part_image(item)
        told = ", ".join(f"{name} {value}" for name, value in facts.items())
        labels = [name for name, true in zip(examples.labels, truth, strict=True) if true]
        rows.append({"read": " ".join([Path(path).name, told]).strip(), "cut": "", "labels": labels})
    fitting.say("first_batch", rows=rows)


def load_network(folder: Path, device: str) -> Fitted:
    """Load what `VisionModel.save` wrote. Raises MedbenchError when a file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in (CARD, WEIGHTS):
        if not (folder / name).exists():
            raise _damaged(folder / name, "no such file")
    card = read_json(folder / CARD)
    try:
        kept = load_file(folder / WEIGHTS)
        return _filled(card, kept, device), card, kept
    except (SafetensorError, RuntimeError, KeyError, TypeError) as error:
        raise _damaged(folder / WEIGHTS, f"{type(error).__name__}: {str(error).splitlines()[0][:120]}") from error


def _filled(card: dict[str, Any], kept: dict[str, Any], device: str) -> Any:
    shape = Shape(**card["shape"])
    network = picture_network(shape, timm_base(shape.base, shape.size))
    network.load_state_dict(unpacked(kept))
    return network.to(device).eval().requires_grad_(False)


def random_twin(card: dict[str, Any], seed: int, device: str) -> Any:
    """Return a network of the same shape with random weights."""
    import torch

    shape = Shape(**card["shape"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = picture_network(shape, timm_base(shape.base, shape.size))
    return network.to(device).eval().requires_grad_(False)


def _damaged(path: Path, found: str) -> MedbenchError:
    return MedbenchError(f"{path.name} of a saved picture network", found, f"Restore {path.parent} or train again.")
