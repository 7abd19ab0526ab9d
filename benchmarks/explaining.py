"""How long do explanations take, how faithful are they, and how often do two methods agree?

    python benchmarks/explaining.py [--family linear|encoder|both] [--docs 200] [--compared 20] [--shap]
                                    [--threads 2] [--train 3000] [--epochs 0.3]

Reads OHSUMED abstracts from $MEDBENCH_SHARED (default ../shared): a model is trained on the first `--train`, and the
abstracts behind them are explained. First the sentences of `--docs` abstracts, every decided label of each; then, on
`--compared` of them, every quick method (SHAP too when asked), what each is worth and how far each two agree. The
encoder is MiniLM with adapters, trained briefly: its speed does not depend on how well it learnt, its figures do; a
trained one is read with --model FOLDER. Prints Markdown.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from medbench import explaining, predicting, trust
from medbench.events import Say
from medbench.explaining import METHODS, Study
from medbench.families import Fitting, Model, get_family
from medbench.predicting import Loaded
from medbench.record_evidence import sentence_evidence
from medbench.records import Device, Examples, Item, join_text

_HELD = 200  # abstracts that thresholds and calibration are fitted on


def ohsumed(n: int) -> tuple[Examples, list[Item]]:
    """Return the first n OHSUMED abstracts with their labels, as examples and as items."""
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/text/ohsumed_train.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), n))
    found = [set(row["labels"].split(";")) for row in rows]
    labels = tuple(sorted(set().union(*found)))
    truth = np.array([[label in own for label in labels] for own in found])
    texts = [join_text(row["title"], row["abstract"]) for row in rows]
    items = [Item(str(at), row["title"], row["abstract"]) for at, row in enumerate(rows)]
    return Examples(texts, truth, labels, "many"), items


def loaded(family: str, train: Examples, held: Examples, epochs: float, folder: Path | None) -> Loaded:
    """Return a model with its calibration and thresholds, trained now or read from a folder."""
    method = get_family(family)
    options: dict[str, Any] = {"epochs": epochs, "early_stopping": 0} if family == "encoder" else {}
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    model: Model = (
        method.load(folder, Device()) if folder else method.fit(train, train.take([]), method.parse(options), fitting)
    )
    scores = model.scores(held.items)
    confidence = trust.fit_trust(scores, held.truth, "many", None, None, np.random.default_rng(0))
    return Loaded(family, Path("nowhere"), {"name": family, "item": "text"}, model, confidence)


def sentences(model: Loaded, items: list[Item]) -> tuple[float, int, float, float]:
    """Return seconds, explanations, their mean gain, and the mean fall of the score when one sentence is kept."""
    answers = predicting.predict(model, items)
    wanted = [answer.chosen or (answer.labels[0].label,) for answer in answers]
    began = time.perf_counter()
    found = [one for each in sentence_evidence(model, items, wanted) for one in each]
    seconds = time.perf_counter() - began
    measured = [one.measured for one in found if one.measured is not None]
    gain, kept = (float(np.mean([getattr(one, name) for one in measured])) for name in ("gain", "sufficiency"))
    return seconds, len(found), gain, kept


def print_study(found: Study) -> None:
    """Print what each method is worth, and how far each two agree."""
    print("| method | gain | comprehensiveness | sufficiency | deletion | insertion | by chance | s a text |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    names = ("gain", "comprehensiveness", "sufficiency", "deletion", "insertion", "chance")
    for name, row in zip(found.methods, found.rows, strict=True):
        figures = " | ".join(f"{row.get(key, float('nan')):.3f}" for key in names)
        print(f"| {METHODS[name].title} | {figures} | {row['seconds']:.2f} |")
    print("\n| methods | rank correlation | strongest shared | the same first place |\n|---|---:|---:|---:|")
    for one, other in itertools.combinations(range(len(found.methods)), 2):
        both = f"{METHODS[found.methods[one]].title}, {METHODS[found.methods[other]].title}"
        cells = [table[one, other] for table in (found.correlation, found.overlap, found.same_top)]
        print(f"| {both} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


def main() -> None:
    """Train, explain, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=("linear", "encoder", "both"), default="both")
    parser.add_argument("--docs", type=int, default=200)
    parser.add_argument("--compared", type=int, default=20)
    parser.add_argument("--shap", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--epochs", type=float, default=0.3)
    parser.add_argument("--model", type=Path, default=None, help="Folder of a trained encoder.")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    examples, items = ohsumed(given.train + given.docs + _HELD)
    train, held = examples.take(range(given.train)), examples.take(range(given.train, given.train + _HELD))
    asked = items[given.train + _HELD :]
    for family in ("linear", "encoder") if given.family == "both" else (given.family,):
        folder = given.model if family == "encoder" else None
        if family == "encoder":
            import torch

            torch.set_num_threads(given.threads)
        model = loaded(family, train, held, given.epochs, folder)
        seconds, count, gain, kept = sentences(model, asked)
        print(f"## {family}: the sentences of {len(asked)} abstracts, {count} labels\n")
        print("| seconds | abstracts/s | mean gain | mean sufficiency |\n|---:|---:|---:|---:|")
        print(f"| {seconds:.1f} | {len(asked) / seconds:.1f} | {gain:.3f} | {kept:.3f} |\n")
        answers = predicting.predict(model, asked[: given.compared])
        chosen = [max(answer.labels, key=lambda score: score.probability).label for answer in answers]
        names = [one.name for one in explaining.methods_for(model) if one.quick or given.shap]
        print(f"## {family}: methods on {given.compared} abstracts, the most probable label\n")
        print_study(explaining.study(model, list(zip(asked, chosen, strict=False)), names))
        print()


if __name__ == "__main__":
    main()
