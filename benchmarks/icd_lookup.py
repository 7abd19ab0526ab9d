"""How well does lookup code case reports that it never learnt from, and how fast?

    python benchmarks/icd_lookup.py [--documents 750]

Reads CodiEsp's diagnoses and English texts from $MEDBENCH_SHARED (default ../shared). Nothing is trained. Its coders
also coded past, family and denied findings, so both figures are given: of all mentions, and of those that are to be
coded. Codes are of 2018: those that are no longer in the table cannot be found. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from medbench.codes_spotting import suggest


def figures(pairs: list[tuple[set[str], set[str]]]) -> str:
    """Return micro precision, recall and F1 of (true, found) sets as table cells."""
    right = sum(len(true & found) for true, found in pairs)
    found, true = sum(len(found) for _, found in pairs), sum(len(true) for true, _ in pairs)
    return f"{right / max(found, 1):.3f} | {right / max(true, 1):.3f} | {2 * right / max(found + true, 1):.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=750)
    asked = parser.parse_args()
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/icd/codiesp_train_dev.jsonl"
    documents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][: asked.documents]
    suggest("warm up")
    begun = time.perf_counter()
    answers = [suggest(document["text"], limit=1000) for document in documents]
    seconds = (time.perf_counter() - begun) / len(documents)
    truth = [{code.upper() for code in document["dx"]} for document in documents]
    print(f"{len(documents)} documents, {1000 * seconds:.0f} ms each\n")
    print("| mentions | digits | precision | recall | micro-F1 |\n|---|---|---:|---:|---:|")
    for name, codable in (("all", False), ("to be coded", True)):
        found = [{each.code.code for each in answer if each.codable or not codable} for answer in answers]
        print(f"| {name} | all | {figures(list(zip(truth, found, strict=True)))} |")
        cut = [
            ({code[:3] for code in true}, {code[:3] for code in own}) for true, own in zip(truth, found, strict=True)
        ]
        print(f"| {name} | three | {figures(cut)} |")


if __name__ == "__main__":
    main()
