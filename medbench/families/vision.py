"""A picture network: any timm base with attention, pooling, patient facts and a head, fine-tuned on photographs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.families import Estimate, Family, Fitting, Model, Surroundings
from medbench.families import _vision_cost as cost
from medbench.families._vision_options import VisionOptions
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores
from medbench.workspace import write_json

if TYPE_CHECKING:
    import torch

    from medbench.families._vision_heat import Seen

Floats = npt.NDArray[np.float32]


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
        self._pictured: tuple[str, torch.Tensor, torch.Tensor | None] | None = None
        self._mapped: tuple[tuple[str, str], Seen] | None = None
        self._seen: tuple[tuple[str, ...], Floats, Floats] | None = None

    def _read(self, items: Sequence[str], views: int | None = None) -> tuple[Floats, Floats]:
        """Return (n, views, L) logits and (n, d) vectors; those of the last call with all views are remembered."""
        from medbench.families._vision_pictures import facts_of, read_each_once

        key = tuple(items)
        seen = self._seen
        if seen is not None and seen[0] == key:
            return seen[1], seen[2]
        logits, vectors = [], []
        for at in range(0, len(items), 256):
            part = items[at : at + 256]
            pixels = read_each_once(part, self._engine.size)
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
        from medbench.families._vision_heat import heat_of

        if label not in self.labels:
            raise MedbenchError("a label of this model", repr(label), f"Choose one of: {', '.join(self.labels)}.")
        with self._lock:
            pixels, facts = self._picture(item)
            if self._mapped is None or self._mapped[0] != (item, label):
                self._mapped = (item, label), []
            heat = heat_of(self._network, pixels, facts, self.labels.index(label), method, self._mapped[1])
        return Explanation(label, method, heat=heat)

    def _picture(self, item: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return (1, 3, H, W) pixels and (1, n_facts) facts on the device; those of the last picture are remembered."""
        import torch

        from medbench.families._vision_pictures import as_tensor, facts_of, read_squares

        if self._pictured is None or self._pictured[0] != item:
            pixels = as_tensor(read_squares([item], self._engine.size)).to(self._device)
            facts = torch.from_numpy(facts_of([item])).to(self._device) if self._card["metadata"] else None
            self._pictured = item, pixels, facts
        return self._pictured[1], self._pictured[2]

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
