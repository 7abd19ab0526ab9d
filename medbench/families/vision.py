"""A picture network: any timm base with attention, pooling, patient facts and a head, fine-tuned on photographs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from medbench.errors import MedbenchError
from medbench.families import Estimate, Family, Fitting, Model, Surroundings
from medbench.families import _vision_cost as cost
from medbench.families._training_options import EXPERT, BestBy, TrainingOptions
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores
from medbench.workspace import write_json

if TYPE_CHECKING:
    from medbench.families._vision_heat import Seen

Floats = npt.NDArray[np.float32]
LITE0 = "tf_efficientnet_lite0"
SUGGESTIONS = {
    LITE0: "EfficientNet-Lite0, small and fast; its ImageNet weights are installed with medbench (3.4 M parameters)",
    "efficientnet_b0": "EfficientNet-B0 (4 M, weights from the model hub)",
    "efficientnet_b1": "EfficientNet-B1 (6.5 M, weights from the model hub)",
    "resnet50": "ResNet-50 (23.5 M, weights from the model hub)",
    "resnet101": "ResNet-101 (42.5 M, weights from the model hub)",
    "vit_small_patch16_224": "ViT-S/16 (21.7 M, weights from the model hub)",
    "swin_tiny_patch4_window7_224": "Swin-T (27.5 M, weights from the model hub)",
}


class VisionOptions(TrainingOptions):
    """Options of the picture network."""

    base: str = Field(
        LITE0,
        min_length=1,
        description="The network to start from, by timm's name.",
        json_schema_extra={"suggestions": {**SUGGESTIONS}},
    )
    weights: Literal["imagenet", "random"] = Field(
        "imagenet", description="Start from weights learnt on ImageNet, or from random ones (needs far more pictures)."
    )
    start_from: str = Field(
        "",
        description="A trained picture network of this dataset with the same base and parts, by its id, whose weights "
        "to start from instead; empty for none.",
        json_schema_extra={"models": "vision"},
    )
    average_with: list[str] = Field(
        default_factory=list,
        max_length=20,
        description="More such networks, by their ids, whose weights are averaged with those to start from (a model "
        "soup); with no epochs the mean is judged as it is.",
        json_schema_extra={"models": "vision", "expert": True},
    )
    teacher: str = Field(
        "",
        description="A trained model of this dataset, or an ensemble, by its id, whose scores are learnt from beside "
        "the labels (distillation); empty for none.",
        json_schema_extra={"models": "any"},
    )
    teacher_weight: float = Field(
        0.5, ge=0, le=1, description="Share of the teacher's scores in the loss, 0-1; the rest is the labels'."
    )
    temperature: float = Field(
        2.0,
        ge=1,
        le=20,
        description="How much the teacher's scores are softened, a divisor of log-odds; 1 leaves them as they are.",
        json_schema_extra=EXPERT,
    )
    size: int = Field(128, ge=32, le=1024, description="Side of the square that is trained on, pixels.")
    read_size: int | None = Field(
        None,
        ge=32,
        le=1024,
        description="Side of the square that is read when answering, pixels; empty means a quarter more than trained "
        "on for convolutional networks.",
        json_schema_extra=EXPERT,
    )
    epochs: float = Field(
        12,
        ge=0,
        le=1000,
        description="How often the training pictures are gone through, in epochs; 0 judges the weights to start from "
        "once more, with these options.",
    )
    batch: int = Field(32, ge=1, le=1024, description="Pictures that go through the network at once, a count.")
    schedule: Literal["linear", "cosine", "cosine_with_restarts", "constant"] = Field(
        "cosine",
        description="How the rate falls after its rise: a straight line, a cosine, cosine restarts or not at all.",
    )
    imbalance: Literal["none", "class_weights", "focal", "sampler", "oversampling"] = Field(
        "sampler",
        description="Help for rare diagnoses: weighted loss, focal loss, drawing rare ones more often (sampler), or "
        "drawing all equally often (oversampling).",
    )
    best_by: BestBy = Field(
        "auc",
        description="Which validation number says what is best; the area under the curve is the least noisy.",
        json_schema_extra=EXPERT,
    )
    average_epochs: float = Field(
        1,
        ge=0,
        le=100,
        description="Keep the running mean of the weights over about so many epochs; 0 keeps those of one step.",
        json_schema_extra=EXPERT,
    )
    early_stopping: float = Field(
        4, ge=0, le=1000, description="Stop when this many epochs brought no better validation; 0 switches it off."
    )
    frozen_epochs: float = Field(
        0, ge=0, le=1000, description="Train only the head for so many epochs, then the whole network."
    )
    attention: Literal["none", "se", "cbam"] = Field(
        "none", description="Attention on the last feature map: none, squeeze-and-excitation or CBAM."
    )
    pooling: Literal["average", "attention"] = Field(
        "average", description="How the map becomes one vector: its mean, or also a mean weighted by attention."
    )
    multi_scale: bool = Field(False, description="Look at two finer feature maps as well.")
    metadata: bool = Field(
        False, description="Read age, sex and site beside the picture; missing ones are told to the network as missing."
    )
    dropout: float = Field(
        0.3, ge=0, lt=1, description="Share of the head's inputs silenced, 0-1; also measures uncertainty."
    )
    batch_norm: bool = Field(True, description="Normalise the head's inputs over the batch.", json_schema_extra=EXPERT)
    smoothing: float = Field(
        0.05, ge=0, lt=1, description="Share of belief spread over the other labels, 0-1.", json_schema_extra=EXPERT
    )
    rotation: float = Field(180, ge=0, le=180, description="Training pictures are turned by up to so many degrees.")
    zoom: float = Field(0.3, ge=0, lt=1, description="Training pictures are enlarged by up to this share, 0-1.")
    stretch: float = Field(
        0.25, ge=0, le=1, description="Training pictures are stretched in one direction by up to this share, 0-1."
    )
    flips: bool = Field(True, description="Mirror training pictures at random, across and upside down.")
    colour: float = Field(
        0.15, ge=0, le=1, description="Brightness, contrast and saturation vary by up to this share, 0-1."
    )
    views: Literal[1, 2, 4] = Field(
        2, description="Views averaged when answering: the picture, its mirror image, both upside down; a count."
    )
    keep: Literal["int8", "fp16", "fp32"] = Field(
        "int8",
        description="Number format of the saved weights, bits; int8 is a quarter of fp32.",
        json_schema_extra=EXPERT,
    )


class VisionModel(Model):
    """A fitted picture network."""

    def __init__(self, network: Any, card: dict[str, Any], kept: dict[str, Any], device: str) -> None:
        """Take a network in evaluation mode on `device`, its card, and its tensors as they are kept."""
        from medbench.families._vision_engine import Engine

        self.labels: tuple[str, ...] = tuple(card["labels"])
        self.answer: AnswerKind = card["answer"]
        self._network, self._card, self._kept, self._device = network, card, kept, device
        self._engine = Engine(network, int(card["read_size"]), device)
        self._lock = threading.Lock()
        self._mapped: tuple[tuple[str, str], Seen] | None = None
        self._seen: tuple[tuple[str, ...], Floats, Floats] | None = None

    def _read(self, items: Sequence[str], views: int | None = None) -> tuple[Floats, Floats]:
        """Return (n, views, L) logits and (n, d) vectors; those of the last call with all views are remembered."""
        from medbench.families._vision_pictures import facts_of, read_squares

        key = tuple(items)
        seen = self._seen
        if seen is not None and seen[0] == key:
            return seen[1], seen[2]
        logits, vectors = [], []
        for at in range(0, len(items), 256):
            part = items[at : at + 256]
            pixels = read_squares(part, self._engine.size)
            facts = facts_of(part) if self._card["metadata"] else None
            found = self._engine.run(pixels, facts, views or int(self._card["views"]))
            logits.append(found[0])
            vectors.append(found[1])
        if not logits:
            return np.zeros((0, 1, len(self.labels)), np.float32), np.zeros((0, 1), np.float32)
        both = np.concatenate(logits), np.concatenate(vectors)
        if views is None:
            self._seen = (key, *both)
        return both

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, n_labels) float32 scores in [0, 1], the mean over the views."""
        return self._scores(self._read(items)[0])

    def _scores(self, logits: Floats) -> Scores:
        from medbench.families._networks import probabilities

        n, views, width = logits.shape
        each = probabilities(logits.reshape(n * views, width), self.answer).reshape(n, views, width)
        mean: Scores = each.mean(axis=1).astype(np.float32)
        return mean

    def scores_of(self, pixels: Floats, item: str = "") -> Scores:
        """Return (n, n_labels) scores of pictures already decoded, one view each.

        Args:
            pixels: (n, H, W, 3) float32 in [0, 1], of any size.
            item: The item whose facts count, for models that read them.
        """
        import torch
        from torch.nn import functional

        from medbench.families._vision_pictures import facts_of

        size = self._engine.size
        tensor = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).permute(0, 3, 1, 2)
        squared = functional.interpolate(tensor, (size, size), mode="bilinear", antialias=True, align_corners=False)
        whole = (squared.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        facts = np.repeat(facts_of([item]), len(whole), axis=0) if self._card["metadata"] else None
        return self._scores(self._engine.run(whole, facts)[0])

    def embed(self, items: Sequence[str]) -> Floats:
        """Return (n, d) float32 vectors of length 1: what lies under the head. One view is enough for them."""
        _, vectors = self._read(items, views=1)
        unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit.astype(np.float32)

    def spread(self, items: Sequence[str], draws: int = 20) -> Floats:
        """Return (n, n_labels) standard deviations of the scores over random dropout masks (Gal & Ghahramani 2016)."""
        import torch

        from medbench.families._networks import probabilities

        _, vectors = self._read(items, views=1)
        norm, drop, line = self._network.head
        with torch.inference_mode(), self._lock:
            inputs = norm(torch.from_numpy(vectors).to(self._device))
            rng = torch.Generator(device=self._device).manual_seed(0)
            found = []
            for _ in range(draws):
                mask = torch.rand(inputs.shape, generator=rng, device=self._device) >= drop.p
                logits = line(inputs * mask / (1 - drop.p)).float().cpu().numpy()
                found.append(probabilities(logits, self.answer))
        result: Floats = np.stack(found).std(axis=0).astype(np.float32)
        return result

    def methods(self) -> tuple[str, ...]:
        """Return the heat-map methods that fit this network."""
        from medbench.families._vision_heat import methods_of

        return methods_of(self._network)

    def heat(self, item: str, label: str, method: str = "grad-cam") -> Explanation:
        """Return a heat map stretched over the whole picture: where the evidence for a label lies.

        Raises:
            MedbenchError: The label is not one of the model's, or the method does not fit the network.
        """
        import torch

        from medbench.families._vision_heat import heat_of
        from medbench.families._vision_pictures import as_tensor, facts_of, read_squares

        if label not in self.labels:
            raise MedbenchError("a label of this model", repr(label), f"Choose one of: {', '.join(self.labels)}.")
        pixels = as_tensor(read_squares([item], self._engine.size)).to(self._device)
        facts = torch.from_numpy(facts_of([item])).to(self._device) if self._card["metadata"] else None
        with self._lock:
            if self._mapped is None or self._mapped[0] != (item, label):
                self._mapped = (item, label), []
            heat = heat_of(self._network, pixels, facts, self.labels.index(label), method, self._mapped[1])
        return Explanation(label, method, heat=heat)

    def reasons(self, item: str, label: str) -> Explanation:
        """Return the Grad-CAM heat map of a label."""
        return self.heat(item, label)

    def randomised(self, seed: int = 0) -> VisionModel:
        """Return this network with random weights: what its heat maps must not look like (Adebayo et al. 2018)."""
        from medbench.families._vision_fit import random_twin

        return VisionModel(random_twin(self._card, seed, self._device), self._card, {}, self._device)

    def notes(self) -> tuple[str, ...]:
        """Return which models it was built on."""
        return tuple(self._card.get("notes", ()))

    def reading(self) -> dict[str, Any]:
        """Return how a program that runs an exported file has to prepare pictures and read the answer; JSON-ready."""
        size, views = self._engine.size, ("the picture", "its mirror image", "upside down", "both")
        return {
            "input": f"pixels: uint8, (n, {size}, {size}, 3), RGB; the whole picture squeezed into the square, bicubic"
            + ("; facts: float32, see medbench" if self._card["metadata"] else ""),
            "output": "logits: float32, (n, labels); vectors: float32, (n, d), what lies under the head",
            "scores": ("softmax" if self.answer == "one" else "sigmoid") + " of the logits, mean over the views",
            "views": list(views[: self._card["views"]]),
        }

    def onnx(self) -> bytes:
        """Return the network as an ONNX file; see `_vision_engine.onnx_bytes`."""
        from medbench.families._vision_engine import onnx_bytes

        with self._lock:
            return onnx_bytes(self._network, self._engine.size)

    def openvino_int8(self, items: Sequence[str], folder: Path) -> None:
        """Write model.xml and model.bin: weights and activations in 8 bits, calibrated on pictures."""
        from medbench.families._vision_engine import write_int8
        from medbench.families._vision_pictures import facts_of, read_squares

        pixels = read_squares(items, self._engine.size)
        write_int8(self.onnx(), pixels, facts_of(items) if self._card["metadata"] else None, folder)

    def in_int8(self, items: Sequence[str]) -> VisionModel:
        """Return the same network with its weights kept in 8 bits; biases are corrected on some of `items`."""
        from medbench.families._vision_fit import packed_model

        return self if self._card["keep"] == "int8" else VisionModel(*packed_model(self._network, self._card, items))

    def save(self, folder: Path) -> None:
        """Write vision.json and weights.safetensors."""
        from safetensors.torch import save_file

        from medbench.families._vision_weights import WEIGHTS

        save_file(self._kept, folder / WEIGHTS)
        write_json(folder / cost.CARD, self._card)


class Vision(Family[VisionOptions]):
    """Fine-tuned picture networks."""

    name = "vision"
    title = "Picture network"
    summary = (
        "A network that has seen a million photographs learns your diagnoses: minutes on a GPU, about an hour without."
    )
    items: ClassVar[frozenset[ItemKind]] = frozenset({"image"})
    answers: ClassVar[frozenset[AnswerKind]] = frozenset({"one", "many"})
    Options = VisionOptions
    space: ClassVar[Mapping[str, Any]] = {
        "learning_rate": (1e-4, 3e-3, "log"),
        "dropout": (0.0, 0.6),
        "smoothing": (0.0, 0.2),
        "imbalance": True,
    }

    def fit(self, train: Examples, validation: Examples, options: VisionOptions, fitting: Fitting) -> VisionModel:
        """Fine-tune on `train`, keep what was best on `validation`; a stop keeps the best so far.

        Raises:
            MedbenchError: When the base cannot be had, a picture cannot be read, or device and precision do not fit.
            Stopped: When the user stopped it before the first step.
        """
        from medbench.families._vision_fit import fit_network

        return VisionModel(*fit_network(train, validation, options, fitting), fitting.device.name)

    def untuned(self, train: Examples, options: VisionOptions, fitting: Fitting) -> VisionModel | None:
        """Return the unchanged base with a head fitted on some pictures, or what is started from; raises as `fit`."""
        from medbench.families._vision_fit import start_network

        found = start_network(train, options, fitting)
        return None if found is None else VisionModel(*found, fitting.device.name)

    def load(self, folder: Path, device: Device) -> VisionModel:
        """Load a saved network. Raises MedbenchError when a file is missing or damaged."""
        from medbench.families._vision_fit import load_network

        return VisionModel(*load_network(folder, device.name), device.name)

    def estimate(self, train: Examples, options: VisionOptions, device: Device) -> Estimate:
        """Say what a fit would cost; seconds rest on measured steps of EfficientNet-Lite0."""
        return cost.estimate(train, options, device)

    def estimate_among(self, train: Examples, options: VisionOptions, device: Device, around: Surroundings) -> Estimate:
        """Say also what stands against the teacher and the networks to start from."""
        from medbench.families._vision_former import starts_of, teacher_of

        problems = []
        for look in (teacher_of, starts_of):
            try:
                look(options, around, train)
            except MedbenchError as error:
                problems.append(str(error))
        found = self.estimate(train, options, device)
        return replace(found, problems=(*found.problems, *problems))

    def remedy(self, error: BaseException, options: VisionOptions) -> tuple[str, dict[str, Any]] | None:
        """Know two failures: out of memory and a full disk."""
        return cost.remedy(error, options)


FAMILY = Vision()
