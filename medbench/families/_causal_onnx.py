"""A causal language model as an ONNX file, and what such a file writes.

The graph reads whole rows and keeps nothing between two tokens: it is for scoring labels and for short answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.families._causal_trie import Ids

MOST_BYTES = 2**31 - 2**24  # one protobuf message, some room left for the graph beside the weights


def write_onnx(lm: Any, path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write "input_ids" and "attention_mask", both (n, length) int64, rows filled on the left -> "logits".

    "logits" is (n, vocabulary) float32, for the token after the last. Weights are float32.

    Args:
        lm: A language model in evaluation mode.
        path: The file to write.
        most_bytes: How large the weights may be, bytes.

    Raises:
        MedbenchError: When the weights are more than one ONNX file can hold.
    """
    import warnings

    import torch

    size = 4 * sum(part.numel() for part in lm.parameters())
    if size > most_bytes:
        raise MedbenchError(
            f"a model whose weights fit one ONNX file ({most_bytes / 1e9:.1f} GB)",
            f"{size / 1e9:.1f} GB of weights",
            "Export it as merged or gguf.",
        )

    rows = torch.ones(2, 5, dtype=torch.int64)
    axes = {name: {0: "n", 1: "length"} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _next_token(lm),
            (rows, rows),
            str(path),
            input_names=list(axes),
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )


def _next_token(lm: Any) -> Any:
    """Return a module that gives the logits after the last token, in steps that can be written down."""
    import torch
    from torch import nn

    class NextToken(nn.Module):
        """The language model with its mask written out, so that the graph holds no branch of transformers'."""

        def __init__(self) -> None:
            super().__init__()
            self.lm = lm

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            places = (attention_mask.cumsum(1) - 1).clamp(min=0)
            order = torch.cumsum(torch.ones_like(input_ids), 1)
            sees = (order[:, :, None] >= order[:, None, :]) & (attention_mask[:, None, :] > 0)
            # A row that fills sees nothing; the lowest finite number keeps its softmax from becoming not-a-number.
            bias = torch.where(sees, 0.0, torch.finfo(torch.float32).min)[:, None]
            out = self.lm(
                input_ids=input_ids,
                attention_mask=bias,
                position_ids=places,
                use_cache=False,
                logits_to_keep=1,
            )
            logits: torch.Tensor = out.logits[:, -1].float()
            return logits

    return NextToken().eval()


def read_onnx(path: Path) -> Any:
    """Return the file compiled by OpenVINO for this machine's processor, in float32.

    Raises:
        MedbenchError: When the file is damaged.
    """
    import openvino

    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise MedbenchError("a whole ONNX file", f"{path}, which is damaged", "Export it again.") from error
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def next_logits(compiled: Any, ids: Ids) -> npt.NDArray[np.float32]:
    """Return (vocabulary,) float32 logits of the token after `ids`."""
    row = np.array([ids], dtype=np.int64)
    logits: npt.NDArray[np.float32] = compiled({"input_ids": row, "attention_mask": np.ones_like(row)})[0][0]
    return logits


def greedy_onnx(compiled: Any, ids: Ids, end_id: int, most: int) -> Ids:
    """Return what the file writes after a prompt, always the likeliest token, up to `most` tokens or the end."""
    written: Ids = []
    while len(written) < most:
        token = int(next_logits(compiled, [*ids, *written]).argmax())
        if token == end_id:
            break
        written.append(token)
    return written
