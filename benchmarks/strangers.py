"""Does "unlike the training data" notice medical text of another kind?

    python benchmarks/strangers.py [--models starter-literature-domains starter-specialties starter-icd] [--keep]

For each shipped model of texts, whose dataset must have been imported (models/README.md): its family is fitted once
with its options on the train rows, distances are scaled on the validation rows, the manner of writing on train and
validation rows, and 200 items of each other corpus of $MEDBENCH_SHARED stand beside 200 of its test rows. By distance
alone (with one per cent beyond its limit: the flag of models from before the manner was looked at), by the manner
alone, and by both. With --keep the figures of both go onto the model's card, without the corpora of its own kind.

What way of noticing to take was chosen on the material with a star; the rest had no part in it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medbench import datasets, foreign
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.foreign import Material
from medbench.record_files import items_of
from medbench.records import Device
from medbench.strangeness import NOWHERE, PLACE, RATE, fit_stranger, with_manner
from medbench.workspace import Workspace, read_json, write_json

STARTERS = ("starter-literature-domains", "starter-specialties", "starter-icd")
_WHOLE = {"title": "title", "text": "abstract"}


@dataclass(frozen=True)
class Corpus:
    """Texts from elsewhere.

    Attributes:
        path: File under $MEDBENCH_SHARED/data.
        columns: Columns of it by the part they play.
        own: Beginning of the name of the dataset it is itself.
        kin: Beginning of the name of a dataset of texts of the same kind.
        chosen_by: The way of noticing was chosen with its help.
    """

    path: str
    columns: dict[str, str]
    own: str = "-"
    kin: str = "-"
    chosen_by: bool = False


OTHERS = {
    "OHSUMED abstracts of 1987-1991": Corpus("text/ohsumed_train.csv.gz", _WHOLE, own="ohsumed"),
    "MTSamples transcriptions": Corpus("text/mtsamples_multilabel_train_dev.csv.gz", {"text": "text"}, own="mtsamples"),
    "CodiEsp case reports in English": Corpus(
        "icd/codiesp_train_dev.jsonl", {"text": "text"}, own="codiesp", chosen_by=True
    ),
    "CodiEsp case reports in Spanish": Corpus("icd/codiesp_train_dev.jsonl", {"text": "text_es"}),
    "ACI visit notes": Corpus("icd/aci_bench_notes.csv", {"text": "note"}, chosen_by=True),
    "ACI conversations of doctor and patient": Corpus("icd/aci_bench_notes.csv", {"text": "dialogue"}),
    "PubMed abstracts of today, cancer or not": Corpus(
        "text/cancer_noncancer_train_dev.csv.gz", _WHOLE, kin="ohsumed", chosen_by=True
    ),
    "PubMed abstracts of all fields": Corpus("text/pubmed_mesh_small.csv.gz", _WHOLE, kin="ohsumed"),
    "abstracts on hallmarks of cancer, without titles": Corpus(
        "text/hoc_train_dev.csv.gz", {"text": "abstract"}, kin="ohsumed"
    ),
}
AT_HAND_CHOSEN = ("passages of the Python manual", "titles of ICD-10-CM codes in a row", "random letters")


def materials(shared: Path, dataset: str) -> list[Material]:
    """Return items of every corpus but a model's own."""
    rng = np.random.default_rng(0)
    found = []
    for what, corpus in OTHERS.items():
        if not dataset.startswith(corpus.own):
            texts = [item.joined for item in items_of(shared / "data" / corpus.path, corpus.columns) if item.joined]
            found.append(Material(what, [texts[row] for row in rng.permutation(len(texts))[: foreign.MOST]]))
    return found


def measure(workspace: Workspace, starter: str, shared: Path) -> dict[str, Any]:
    """Fit, measure and print one model's table; return what both ways together came to."""
    card = read_json(workspace.model(starter) / "model.json")
    name = str(card["dataset"]["name"])
    dataset = datasets.load(workspace, str(card["dataset"]["id"]))
    train, validation, test = (dataset.examples(split) for split in ("train", "validation", "test"))
    family, rng = get_family(str(card["family"])), np.random.default_rng(0)
    model = family.fit(train, train.take([]), family.parse(card["options"]), Fitting(rng, Device("cpu"), Say()))
    inside, held = model.embed(train.items), model.embed(validation.items)
    known = train.with_more(validation)
    ways = {
        "distance": fit_stranger(inside, held, np.random.default_rng(0)),
        "manner": with_manner(None, known.items, known.groups),
        "both": with_manner(
            fit_stranger(inside, held, np.random.default_rng(0), PLACE * RATE), known.items, known.groups
        ),
    }
    others = materials(shared, name)
    tables = [foreign.measured(model, way or NOWHERE, test.items, "text", others, 1e6) for way in ways.values()]
    print(
        f"\n{starter}: AUROC and share flagged\n\n| against | n | {' | '.join(ways)} |\n|---|---:|{'---:|' * len(ways)}"
    )
    print(f"| its own test rows | {tables[0]['own']['n']} | {' | '.join(_share(one['own']) for one in tables)} |")
    for rows in zip(*(one["foreign"] for one in tables), strict=True):
        cells = " | ".join(f"{_area(row['auroc'])}, {_share(row['flagged'])}" for row in rows)
        print(f"| {_named(rows[0]['what'], name)} | {rows[0]['auroc']['n']} | {cells} |")
    kin = {what for what, corpus in OTHERS.items() if name.startswith(corpus.kin)}
    return {**tables[-1], "foreign": [row for row in tables[-1]["foreign"] if row["what"] not in kin]}


def _named(what: str, dataset: str) -> str:
    corpus = OTHERS.get(what, Corpus("", {}))
    star = " *" if corpus.chosen_by or what in AT_HAND_CHOSEN else ""
    return what + star + (" (of its own kind)" if dataset.startswith(corpus.kin) else "")


def _area(found: dict[str, float]) -> str:
    return f"{found['value']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def _share(found: dict[str, float]) -> str:
    return f"{found['value']:.1%}" if found["value"] < 0.1 else f"{found['value']:.0%}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=STARTERS)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args(arguments)
    workspace = Workspace.here()
    for starter in args.models:
        found = measure(workspace, starter, Path(os.environ.get("MEDBENCH_SHARED", "../shared")))
        if args.keep:
            path = workspace.model(starter) / "model.json"
            card = read_json(path)
            write_json(path, {**card, "promises": {**card.get("promises", {}), "strangers": found}})


if __name__ == "__main__":
    main()
