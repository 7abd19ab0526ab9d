"""How fast does a fine-tuned encoder answer, beside transformers.pipeline on the same texts, weights and threads?

    python benchmarks/encoder_inference.py [--docs 512] [--threads 2] [--max-tokens 256] [--batch 32] [--rounds 3]

Reads OHSUMED abstracts from $MEDBENCH_SHARED (default ../shared). Both answer in one process, by turns, with the same
weights and cut; the labels must agree. The share of the machine's fp32 matrix rate counts the multiplications of the
tokens that were read, padding not included. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medbench.events import Say
from medbench.families import Fitting
from medbench.families._bases import MINILM, obtain
from medbench.families.encoder import FAMILY, EncoderModel
from medbench.records import Device, Examples, join_text


def ohsumed(n: int) -> Examples:
    """Return the first n OHSUMED abstracts with their labels."""
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/text/ohsumed_train.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for _, row in zip(range(n), csv.DictReader(file), strict=False)]
    found = [set(row["labels"].split(";")) for row in rows]
    labels = tuple(sorted(set().union(*found)))
    truth = np.array([[label in own for label in labels] for own in found])
    return Examples([join_text(row["title"], row["abstract"]) for row in rows], truth, labels, "many")


def small_model(examples: Examples, max_tokens: int) -> EncoderModel:
    """Return a MiniLM with adapters after one step: real weights, a head that was fitted, labels that differ."""
    options = FAMILY.parse({"max_tokens": max_tokens, "epochs": 0.01, "early_stopping": 0})
    nothing = examples.take([])
    return FAMILY.fit(examples, nothing, options, Fitting(np.random.default_rng(0), Device(), Say()))


def peer(model: EncoderModel, max_tokens: int, batch: int) -> Callable[[list[str]], np.ndarray]:
    """Return transformers' own way of answering with the same network: a text-classification pipeline."""
    from transformers import AutoTokenizer, PreTrainedModel, pipeline
    from transformers.modeling_outputs import SequenceClassifierOutput

    network: Any = model._network
    config = network.backbone.config
    config.num_labels = len(model.labels)
    config.id2label = dict(enumerate(model.labels))
    config.label2id = {label: at for at, label in enumerate(model.labels)}

    class Pooled(PreTrainedModel):
        config_class = type(config)
        _supports_sdpa = True  # the inner BERT's attention, which is what runs

        def __init__(self) -> None:
            super().__init__(config)
            self.network = network
            self.post_init()

        def _init_weights(self, module: Any) -> None:
            """Keep the trained weights."""

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> SequenceClassifierOutput:
            return SequenceClassifierOutput(logits=self.network(input_ids, attention_mask)["logits"])

    tokenizer = AutoTokenizer.from_pretrained(str(obtain(MINILM)))
    answer = pipeline("text-classification", model=Pooled().eval(), tokenizer=tokenizer, device="cpu")

    def scores(texts: list[str]) -> np.ndarray:
        told = answer(
            texts, batch_size=batch, top_k=None, function_to_apply="sigmoid", truncation=True, max_length=max_tokens
        )
        rows = [{entry["label"]: entry["score"] for entry in row} for row in told]
        return np.array([[row[label] for label in model.labels] for row in rows])

    return scores


def matrix_rate(seconds: float = 2.0) -> float:
    """Return the machine's fp32 matrix rate in floating-point operations a second, the best of a few seconds."""
    import torch

    size, best, begun = 1536, 0.0, time.perf_counter()
    left, right = torch.randn(size, size), torch.randn(size, size)
    while time.perf_counter() - begun < seconds:
        at = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2 * size**3 / (time.perf_counter() - at))
    return best


def operations(model: EncoderModel, texts: list[str]) -> float:
    """Return the floating-point operations that reading these texts takes, without padding."""
    config = model._network.backbone.config
    layers, width, inner = config.num_hidden_layers, config.hidden_size, config.intermediate_size
    lengths = np.array([len(ids) for ids in model._reader.ids(texts)], dtype=float)
    linear = 2 * layers * (4 * width**2 + 2 * width * inner) * lengths.sum()
    return float(linear + 4 * layers * width * np.square(lengths).sum())


def main() -> None:
    """Measure both by turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32, help="batch size of the pipeline")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    examples = ohsumed(args.docs)
    texts = list(examples.items)
    model = small_model(examples.take(range(min(256, args.docs))), args.max_tokens)
    pipeline_scores = peer(model, args.max_tokens, args.batch)
    ours: list[float] = []
    theirs: list[float] = []
    difference = disagreements = 0.0
    for _ in range(args.rounds):
        fresh = EncoderModel(model._network, model._reader, model._card, "cpu", model._adapter)
        at = time.perf_counter()
        here = fresh.scores(texts)
        ours.append(len(texts) / (time.perf_counter() - at))
        at = time.perf_counter()
        there = pipeline_scores(texts)
        theirs.append(len(texts) / (time.perf_counter() - at))
        difference = float(np.abs(here - there).max())
        disagreements = int(((here >= 0.5) != (there >= 0.5)).sum())
    rate = matrix_rate()
    each = operations(model, texts) / len(texts)
    print(f"{len(texts)} OHSUMED abstracts, {args.max_tokens} tokens, {args.threads} threads, median of {args.rounds}")
    print(f"fp32 matrix rate {rate / 1e9:.0f} GFLOP/s; {each / 1e9:.2f} GFLOP a document\n")
    print("| engine | docs/s | share of the fp32 matrix rate |\n|---|---:|---:|")
    for name, found in (("medbench encoder", ours), (f"transformers.pipeline, batch {args.batch}", theirs)):
        speed = statistics.median(found)
        print(f"| {name} | {speed:.1f} | {speed * each / rate:.0%} |")
    print(f"\nmedbench is {statistics.median(ours) / statistics.median(theirs):.2f} times as fast; ", end="")
    print(f"largest score difference {difference:.1e}, {disagreements} of {here.size} labels differ at 0.5.")


if __name__ == "__main__":
    main()
