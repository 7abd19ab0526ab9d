"""Does a hybrid of cheap and slow models earn its place beside the linear model, and what does a cascade spare?

    python benchmarks/literature_hybrid.py [--dataset ohsumed mtsamples] [--members linear keywords embedding]
        [--combine stacking best] [--cascade embedding] [--home DIR]

Imports the corpora of $MEDBENCH_SHARED with the default 70/15/15 split, trains the members, an ensemble of them for
each way to combine, and with --cascade the linear model before a slow one, all through real runs; runs that are already
in --home are taken as they are. Prints figures on the test split, scored once, with 95 % intervals, and the paired
difference from the linear model (for a cascade: from its slow model) with interval and permutation p, not corrected.
With --speed, docs/s of the slow model and of the cascade on the test texts, alternating rounds, one process: only on a
machine that does nothing else. The official test halves are not touched.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from literature_quality import CORPORA, import_corpus, shown, train

from medbench import comparing, comparing_judged, datasets, predicting
from medbench.families import get_family
from medbench.workspace import Workspace

MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "weighted": ("linear", {"class_weight": "half"}),
    "logistic": ("linear", {"loss": "logistic"}),
    "pieces": ("linear", {"pieces": True}),
    "keywords": ("keywords", {}),
    "embedding": ("embedding", {}),
    "encoder": ("encoder", {}),
}
METRICS = ("micro_f1", "macro_f1")


def run(workspace: Workspace, family: str, dataset: str, options: dict[str, Any]) -> str:
    """Return the model of a run with these options on this dataset: one of before, or a new one."""
    whole = get_family(family).parse(options).model_dump(mode="json")
    for card in comparing_judged.cards(workspace):
        if card["family"] == family and card["dataset"]["id"] == dataset and card["options"] == whole:
            return str(card["id"])
    return str(train(workspace, family, dataset, options)["id"])


def row(workspace: Workspace, words: Sequence[str], model: str, beside: str) -> str:
    """Return one line of the table: figures of a model and how far it lies from another."""
    found = [comparing_judged.answered(workspace, name) for name in dict.fromkeys((beside, model))]
    figures = [shown(found[-1].card["metrics"][name]) for name in METRICS]
    if len(found) == 2:
        items = comparing_judged.items_of(workspace, found[0])
        compared = comparing.compare(found, items.groups, rng=np.random.default_rng(0))
        for name in METRICS:
            pair = compared.pairs(name)[0]
            low, high = 100 * pair.low, 100 * pair.high
            figures.append(f"{100 * pair.value:+.1f} ({low:+.1f} to {high:+.1f}), p = {pair.p:.3f}")
    else:
        figures += ["", ""]
    return f"| {' | '.join([*words, *figures, str(round(found[-1].card['cost']['seconds']))])} |"


def speeds(workspace: Workspace, names: Sequence[str], dataset: str, rounds: int) -> dict[str, list[float]]:
    """Return docs/s of each model on the dataset's test texts, one value a round, models by turns."""
    found: dict[str, list[float]] = {name: [] for name in names}
    texts = datasets.load(workspace, dataset).examples("test").items
    for number in range(rounds):
        for at, name in enumerate(names, start=1):
            loaded = predicting.load(workspace, name)
            loaded.model.scores(list(texts[:8]))
            blanks = " " * (number * len(names) + at)  # models remember texts they have read: these are new ones
            began = time.perf_counter()
            loaded.model.scores([f"{text}{blanks}" for text in texts])
            found[name].append(len(texts) / (time.perf_counter() - began))
    return found


def measure(workspace: Workspace, name: str, given: argparse.Namespace) -> None:
    """Print the rows of one corpus."""
    dataset, _ = import_corpus(workspace, name)
    models: dict[str, str] = {}
    for member in dict.fromkeys(["linear", *given.members, *([given.cascade] if given.cascade else [])]):
        family, options = MEMBERS[member]
        models[member] = run(workspace, family, dataset, options)
        print(row(workspace, [name, member], models[member], models["linear"]), flush=True)
    for combine in given.combine:
        options = {"members": [models[member] for member in given.members], "combine": combine}
        hybrid = run(workspace, "ensemble", dataset, options)
        words = [name, f"{' + '.join(given.members)}, {combine}"]
        print(row(workspace, words, hybrid, models["linear"]), flush=True)
        for note in comparing_judged.answered(workspace, hybrid).card["notes"][:3]:
            print(f"<!-- {note} -->")
    if given.cascade:
        slow = models[given.cascade]
        cascade = run(workspace, "cascade", dataset, {"quick": models["linear"], "slow": slow, "loss": given.loss})
        print(row(workspace, [name, f"cascade: linear, then {given.cascade}"], cascade, slow), flush=True)
        for note in comparing_judged.answered(workspace, cascade).card["notes"][:3]:
            print(f"<!-- {note} -->")
        if given.speed:
            for model, values in speeds(workspace, [slow, cascade], dataset, given.speed).items():
                print(f"<!-- {model}: {', '.join(f'{value:.1f}' for value in values)} docs/s -->", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", default=["ohsumed", "mtsamples"], choices=list(CORPORA))
    parser.add_argument("--members", nargs="+", default=["linear", "keywords", "embedding"], choices=list(MEMBERS))
    parser.add_argument("--combine", nargs="*", default=["stacking", "best"])
    parser.add_argument("--cascade", choices=list(MEMBERS), help="The slow model behind the linear one.")
    parser.add_argument("--loss", type=float, default=0.2, help="Points the cascade may give up on validation.")
    parser.add_argument("--speed", type=int, default=0, metavar="ROUNDS", help="Also measure docs/s of the cascade.")
    parser.add_argument("--home", type=Path, default=None, help="Keep data and models here.")
    given = parser.parse_args()
    print("| data | model | micro-F1 | macro-F1 | micro-F1, points apart | macro-F1, points apart | run, s |")
    print("|---|---|---|---|---|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.dataset:
            measure(Workspace.here(given.home or Path(folder)), name, given)


if __name__ == "__main__":
    main()
