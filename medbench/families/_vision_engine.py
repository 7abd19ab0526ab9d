"""Answers with a picture network: through OpenVINO on a processor, through torch on a GPU."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.families._vision_pictures import N_FACTS, Pixels, as_tensor

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
_BATCH = {"cpu": 16}
_GPU_BATCH = 128


class Engine:
    """Computes logits and vectors of pictures. Made once per model; the first answer compiles."""

    def __init__(self, network: Any, size: int, device: str) -> None:
        """Take a picture network in evaluation mode on `device`, and the side in pixels that it reads."""
        self.network, self.size, self.device = network, size, device
        self._compiled: Any = None
        self._lock = threading.Lock()

    def run(self, pixels: Pixels, facts: Floats | None, views: int = 1) -> tuple[Floats, Floats]:
        """Return (n, views, L) logits and (n, d) vectors (of the plain view) of (n, size, size, 3) uint8 pictures.

        Args:
            pixels: Pictures at the engine's size.
            facts: (n, N_FACTS) or None when the network reads none.
            views: 1 the picture; 2 its mirror image too; 4 also both upside down.
        """
        logits: list[Floats] = []
        vectors: list[Floats] = []
        batch = max(_BATCH.get(self.device, _GPU_BATCH) // views, 1)
        for at in range(0, len(pixels), batch):
            part = pixels[at : at + batch]
            seen = np.stack([flipped(part, view) for view in range(views)], axis=1)
            known = None if facts is None else np.repeat(facts[at : at + batch], views, axis=0)
            found, pooled = self._answer(seen.reshape(-1, *part.shape[1:]), known)
            logits.append(found.reshape(len(part), views, -1))
            vectors.append(pooled.reshape(len(part), views, -1)[:, 0])
        return np.concatenate(logits), np.concatenate(vectors)

    def _answer(self, pixels: Pixels, facts: Floats | None) -> tuple[Floats, Floats]:
        if self.device != "cpu":
            return self._with_torch(pixels, facts)
        inputs: list[Any] = [np.ascontiguousarray(pixels)]
        if facts is not None:
            inputs.append(facts)
        with self._lock:
            if self._compiled is None:
                self._compiled = compiled(self.network, self.size)
            found = self._compiled(inputs)
            return np.array(found[0], dtype=np.float32), np.array(found[1], dtype=np.float32)

    def _with_torch(self, pixels: Pixels, facts: Floats | None) -> tuple[Floats, Floats]:
        import torch

        with torch.inference_mode():
            known = None if facts is None else torch.from_numpy(facts).to(self.device)
            pooled = self.network.pooled(as_tensor(pixels).to(self.device), known)
            logits = self.network.head(pooled)
        return logits.float().cpu().numpy(), pooled.float().cpu().numpy()


def flipped(pixels: Pixels, view: int) -> Pixels:
    """Return (n, H, W, 3) pictures as they are (view 0), mirrored (1), upside down (2) or both (3)."""
    across = pixels[:, :, ::-1] if view & 1 else pixels
    return across[:, ::-1] if view & 2 else across


def exportable(network: Any) -> tuple[Any, bool]:
    """Return a module from (n, H, W, 3) uint8 (and facts) to (logits, vectors), and whether it reads facts."""
    from torch import nn

    class Answering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor, facts: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            pooled = self.network.pooled(pixels.permute(0, 3, 1, 2).float() / 255, facts)
            return self.network.head(pooled), pooled

    return Answering().eval(), network.facts is not None


def onnx_bytes(network: Any, size: int) -> bytes:
    """Return the network as an ONNX file: "pixels" (n, size, size, 3) uint8 [, "facts"] -> "logits", "vectors"."""
    import warnings

    import torch

    module, with_facts = exportable(network)
    examples: list[Any] = [torch.zeros(2, size, size, 3, dtype=torch.uint8)]
    names = ["pixels"]
    if with_facts:
        examples.append(torch.zeros(2, N_FACTS))
        names.append("facts")
    out = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(examples),
            out,  # type: ignore[arg-type]  # the exporter writes to any file-like object
            input_names=names,
            output_names=["logits", "vectors"],
            dynamic_axes={name: {0: "n"} for name in (*names, "logits", "vectors")},
            dynamo=False,
        )
    return out.getvalue()


def compiled(network: Any, size: int) -> Any:
    """Return the network compiled by OpenVINO for this machine's processor, at most OMP_NUM_THREADS threads."""
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx_bytes(network, size), b"")
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    # float32 everywhere: processors that can would take bfloat16, and answers would differ between machines.
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return core.compile_model(model, "CPU", settings)


def write_int8(onnx: bytes, pixels: Pixels, facts: Floats | None, folder: Path) -> None:
    """Quantise a network's weights and activations to 8 bits and write it as OpenVINO IR.

    Args:
        onnx: The network (`onnx_bytes`).
        pixels: (n, size, size, 3) uint8 pictures that show what activations are usual.
        facts: (n, N_FACTS) or None.
        folder: Where model.xml and model.bin go.

    Raises:
        MedbenchError: The package nncf is not installed.
    """
    from importlib.util import find_spec

    if find_spec("nncf") is None:
        raise MedbenchError("the package nncf, which quantises", "none", 'Install it: pip install "medbench[int8]".')
    os.environ["NNCF_CI"] = "1"  # its switch for "report nothing to anybody"; read when it is imported
    import nncf
    import openvino

    rows = [[pixels[at : at + 1], *([] if facts is None else [facts[at : at + 1]])] for at in range(len(pixels))]
    model = openvino.Core().read_model(onnx, b"")
    # Outputs of linear bottlenecks are signed, those behind ReLU are not: mixed ranges fit both. Processors without
    # VNNI add pairs of products in 16 bits; weights that use half the range cannot overflow there.
    settings = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    mixed = nncf.QuantizationPreset.MIXED
    calibration = nncf.Dataset(rows)
    small = nncf.quantize(model, calibration, preset=mixed, subset_size=len(rows), advanced_parameters=settings)
    openvino.save_model(small, folder / "model.xml")
