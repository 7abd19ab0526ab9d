"""A served language model on clinical notes: how many answers can be read, how many codes exist, how long it takes.

    python -m llama_cpp.server --model exports/mine/model.gguf --model_alias smollm2 --n_ctx 4096 --logits_all true
    python benchmarks/icd_endpoint.py [--address http://127.0.0.1:8000/v1] [--model smollm2] [--notes 20] [--words 200]

Asks the server for the codes of CodiEsp's first development notes ($MEDBENCH_SHARED), cut at `--words` words. Three
ways: `free` (any code of ICD-10-CM, the answer as the model writes it), `listed` (the `--labels` most frequent
three-character categories of the training notes, listed in the question) and `held` (the same, and the server holds the
answer to a JSON list of them). Quality is the micro-F1 of the categories named, over all categories of each note;
nothing is calibrated and no threshold is tuned. Needs LiteLLM.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from medbench.codes import tables
from medbench.families._endpoint_asking import Asking, Reply
from medbench.families.endpoint import FAMILY, asking_for

SHARED = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data"


def read(split: str) -> list[tuple[str, set[str]]]:
    """Return text and three-character categories of each note of a split."""
    with (SHARED / "icd/codiesp_train_dev.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["text"], {code[:3].upper() for code in row["dx"]}) for row in rows if row["split"] == split]


def measured(name: str, asking: Asking, notes: list[tuple[str, set[str]]]) -> str:
    """Ask about the notes and word what came of it."""
    began = time.monotonic()
    replies = asking.replies([text for text, _ in notes])
    seconds = time.monotonic() - began
    answered = sum(reply.answered for reply in replies)
    real = sum(len(reply.named) + len(reply.outside) for reply in replies)
    unknown = sum(len(reply.unknown) for reply in replies)
    hits, named, true = _counted(replies, [codes for _, codes in notes])
    share = f"{real / (real + unknown):.2f}" if real + unknown else "none named"
    return (
        f"{name}: {answered} of {len(notes)} answered, {len(notes) - answered} unanswered; {real + unknown} codes, "
        f"share in the table {share}; micro-F1 at three characters {2 * hits / max(named + true, 1):.3f}; "
        f"{seconds / len(notes):.1f} s a note; {asking.spent.sentence()}"
    )


def _counted(replies: list[Reply], truth: list[set[str]]) -> tuple[int, int, int]:
    """Return right, named and true categories."""
    held = tables()
    hits = named = true = 0
    for reply, codes in zip(replies, truth, strict=True):
        found = {str(held.category(label)).partition(":")[2] for label, _ in reply.named}
        hits, named, true = hits + len(found & codes), named + len(found), true + len(codes)
    return hits, named, true


def main() -> None:
    """Ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--notes", type=int, default=20)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--ways", nargs="+", default=["free", "listed", "held"], choices=["free", "listed", "held"])
    given = parser.parse_args()
    notes = read("dev")[: given.notes]
    frequent = Counter(code for _, codes in read("train") for code in codes).most_common(given.labels)
    few = tuple(f"icd10cm:{code}" for code, _ in frequent)
    common: dict[str, Any] = {"address": given.address, "model": given.model, "timeout": given.timeout}
    common |= {"max_words": given.words, "answer_tokens": 40, "at_once": 1, "retries": 0}
    for way in given.ways:
        labels = tuple(tables().labels("icd10cm")) if way == "free" else few
        options = FAMILY.parse({**common, "hold": "json_object" if way == "held" else "no"})
        print(measured(way, asking_for(options, labels, "many"), notes), flush=True)


if __name__ == "__main__":
    main()
