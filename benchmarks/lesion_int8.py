"""What do 8 bits cost? A picture network's own test split with weights in float32, in 8 bits, and activations too.

    python benchmarks/lesion_int8.py MODEL [--pictures 0] [--threads 2]

MODEL is a model in the workspace whose dataset is there too, trained with `keep: fp32` (weights that were rounded
before have nothing left to lose). Calibration and thresholds are the model's own. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medbench import datasets, predicting
from medbench.families._networks import probabilities
from medbench.families._vision_bias import PICTURES, packed_network
from medbench.families._vision_engine import compiled, flipped, onnx_bytes, write_int8
from medbench.families._vision_pictures import as_tensor, facts_of, read_squares
from medbench.families._vision_weights import packed, unpacked
from medbench.workspace import Workspace


def by_largest(state: dict[str, Any]) -> dict[str, Any]:
    """Return weights rounded the simplest way: every matrix, steps by each channel's largest weight."""
    found = {}
    for name, value in state.items():
        found[name] = value
        if value.is_floating_point() and value.ndim > 1 and value.numel() >= 2048:
            step = value.flatten(1).abs().amax(1).clamp(min=1e-12).view(-1, *[1] * (value.ndim - 1)) / 127
            found[name] = (value / step).round() * step
    return found


def bytes_of(state: dict[str, Any]) -> int:
    """Return how many bytes tensors take."""
    return sum(value.numel() * value.element_size() for value in state.values())


class Judge:
    """Answers the test split with a compiled network and compares with the float32 one."""

    def __init__(self, loaded: Any, pixels: Any, facts: Any, truth: Any) -> None:
        """Take the model, (n, size, size, 3) pictures, their facts or None, and (n, L) truth."""
        self.loaded, self.pixels, self.facts, self.truth = loaded, pixels, facts, truth
        self.views, self.whole = int(loaded.model._card["views"]), None

    def row(self, name: str, network: Any, size: int) -> None:
        """Print a line of the table."""
        found, at = [], time.process_time()
        for row in range(len(self.pixels)):
            part = self.pixels[row : row + 1]
            seen = np.ascontiguousarray(np.concatenate([flipped(part, view) for view in range(self.views)]))
            known = [] if self.facts is None else [np.repeat(self.facts[row : row + 1], self.views, axis=0)]
            found.append(np.array(network([seen, *known])[0]))
        spent = 1000 * (time.process_time() - at) / len(self.pixels)
        logits = np.stack(found)
        self.whole = logits if self.whole is None else self.whole
        off = float(np.sqrt(np.mean((logits - self.whole) ** 2)))
        scores = probabilities(logits.reshape(-1, logits.shape[2]), "one").reshape(logits.shape).mean(1)
        trust, classes = self.loaded.trust, self.truth.argmax(1)
        right = trust.calibrate(scores.astype(np.float32))
        balanced = balanced_accuracy_score(classes, trust.decide(right).argmax(1))
        seen_labels = self.truth.any(0)
        area = roc_auc_score(self.truth[:, seen_labels], right[:, seen_labels], average="macro")
        print(f"| {name} | {size / 1e6:.1f} | {off:.3f} | {balanced:.4f} | {area:.4f} | {spent:.1f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--pictures", type=int, default=0, help="of the test split; 0 for all")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import openvino
    import torch

    torch.set_num_threads(args.threads)
    workspace = Workspace.here()
    loaded = predicting.load(workspace, args.model)
    model: Any = loaded.model
    network, card, side = model._network, model._card, model._engine.size
    dataset = datasets.load(workspace, str(loaded.card["dataset"]["id"]))
    test, shown, learnt = (dataset.examples(part) for part in ("test", "validation", "train"))

    def read(items: Any) -> tuple[Any, Any]:
        return read_squares(items, side), facts_of(items) if card["metadata"] else None

    items = list(test.items)[: args.pictures or None]
    judge = Judge(loaded, *read(items), test.truth[: len(items)])
    pixels, facts = read(list(shown.items)[:: max(1, len(shown) // PICTURES)][:PICTURES])
    state = network.state_dict()
    corrected = packed_network(network, "int8", as_tensor(pixels), None if facts is None else torch.from_numpy(facts))
    kinds = {
        "float32": (state, bytes_of(state)),
        "weights 8 bits by the largest, nothing corrected": (by_largest(state), bytes_of(packed(state, "int8"))),
        "weights as medbench keeps them, not corrected": (unpacked(packed(state, "int8")), bytes_of(corrected)),
        "weights as medbench keeps them": (unpacked(corrected), bytes_of(corrected)),
    }
    print(f"{args.model}, kept as {card['keep']}: {len(items)} test pictures, {judge.views} views of {side} pixels\n")
    print("| numbers | MB | logits off by (rms) | balanced accuracy | macro AUC | processor ms a picture |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (tensors, size) in kinds.items():
        other = copy.deepcopy(network)
        other.load_state_dict(tensors)
        judge.row(name, compiled(other, side), size)
    with tempfile.TemporaryDirectory() as work:
        pixels, facts = read(list(learnt.items)[:: max(1, len(learnt) // 300)][:300])
        write_int8(onnx_bytes(network, side), pixels, facts, Path(work))
        size = sum(path.stat().st_size for path in Path(work).iterdir())
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": args.threads}
        exported = openvino.Core().compile_model(str(Path(work) / "model.xml"), "CPU", settings)
        judge.row("exported: weights and activations 8 bits", exported, size)


if __name__ == "__main__":
    main()
