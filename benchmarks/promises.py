"""Do conformal sets hold what they promise, and are foreign items told from one's own?

    python benchmarks/promises.py sets DATASET [--splits 20] [--family linear]
    python benchmarks/promises.py strangers MODEL TABLE [--column text] [--items 500]

"sets": the family is fitted once on the train split; the other splits are joined and cut at random, 20 times, into a
half that trust is fitted on and a half on which the 90 % sets are counted. The mean and the range of the coverage.

"strangers": how well "unlike the training data" tells the test items of a model's own dataset from foreign ones, as the
area under the ROC curve with a bootstrap interval, and how many of each are flagged. Foreign texts come from a CSV
table; foreign pictures from a folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from medbench import datasets, predicting, trust, trust_figures
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.records import Device, join_image
from medbench.workspace import Workspace

PICTURES = {".jpg", ".jpeg", ".png"}


def sets(workspace: Workspace, name: str, splits: int, family_name: str) -> None:
    """Print the coverage of 90 % sets over random halves."""
    dataset = datasets.load(workspace, name)
    train, rest = dataset.examples("train"), dataset.examples("validation", "test")
    family = get_family(family_name)
    fitting = Fitting(np.random.default_rng(0), Device("cpu"), Say())
    model = family.fit(train, rest.take([]), family.parse({}), fitting)
    scores = model.scores(rest.items)
    kept, sizes, wrong, every, alone = [], [], [], [], []
    for split in range(splits):
        rng = np.random.default_rng(split)
        order = rng.permutation(len(rest))
        half, other = order[: len(order) // 2], order[len(order) // 2 :]
        fitted = trust.fit_trust(scores[half], rest.truth[half], rest.answer, None, None, rng)
        found = trust_figures.measured(fitted, fitted.calibrate(scores[other]), rest.truth[other], rest.labels)
        kept.append(found["sets"]["kept"]["value"])
        sizes.append(found["sets"]["mean_size"])
        alone.append(found["alone"]["share"]["value"])
        wrong.append(found["alone"]["wrong"]["value"])
        every.append(found["alone"]["wrong_of_all"]["value"])
    print(f"{name}, {family_name}, {len(rest):,} items in halves, {splits} times\n")
    print("| | mean | least | most |\n|---|---:|---:|---:|")
    rows = {"90 % sets hold the truth": kept, "labels in a set": sizes, "answered without a person": alone}
    for words, values in (rows | {"of these with a wrong label": wrong, "of all": every}).items():
        print(f"| {words} | {np.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


def foreign_items(place: Path, column: str) -> list[str]:
    """Return texts of a CSV table's column, or the pictures of a folder as items."""
    if place.is_dir():
        return [join_image(str(path), {}) for path in sorted(place.rglob("*")) if path.suffix.lower() in PICTURES]
    import pandas as pd

    return [str(text) for text in pd.read_csv(place)[column].dropna() if str(text).strip()]


def strangers(workspace: Workspace, model: str, place: Path, column: str, items: int) -> None:
    """Print how well foreign items are told from a dataset's own."""
    from sklearn.metrics import roc_auc_score

    loaded = predicting.load(workspace, model)
    own = list(datasets.load(workspace, str(loaded.card["dataset"]["id"])).examples("test").items)
    rng = np.random.default_rng(0)
    groups: list[list[str]] = [own, foreign_items(place, column)]
    groups = [[group[at] for at in rng.permutation(len(group))[:items]] for group in groups]
    vectors = [loaded.model.embed(group) for group in groups]
    distance = [np.asarray(loaded.trust.stranger.distance(each)) for each in vectors if loaded.trust.stranger]
    foreign = np.repeat([False, True], [len(each) for each in distance])
    values = np.concatenate(distance)
    areas: list[Any] = []
    for _ in range(1000):
        rows = rng.integers(0, len(values), len(values))
        if 0 < foreign[rows].sum() < len(rows):
            areas.append(roc_auc_score(foreign[rows], values[rows]))
    low, high = np.quantile(areas, [0.025, 0.975])
    flagged = [loaded.trust.unlike(each).mean() for each in vectors]
    print(f"{model}: {len(groups[0]):,} of its own test items, {len(groups[1]):,} of {place.name}")
    print(f"AUROC {roc_auc_score(foreign, values):.3f} ({low:.3f}–{high:.3f}); ", end="")
    print(f"flagged: own {flagged[0]:.1%}, foreign {flagged[1]:.1%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    of_sets = verbs.add_parser("sets")
    of_sets.add_argument("dataset")
    of_sets.add_argument("--splits", type=int, default=20)
    of_sets.add_argument("--family", default="linear")
    of_strangers = verbs.add_parser("strangers")
    of_strangers.add_argument("model")
    of_strangers.add_argument("place", type=Path)
    of_strangers.add_argument("--column", default="text")
    of_strangers.add_argument("--items", type=int, default=500)
    args = parser.parse_args()
    if args.verb == "sets":
        sets(Workspace.here(), args.dataset, args.splits, args.family)
    else:
        strangers(Workspace.here(), args.model, args.place, args.column, args.items)


if __name__ == "__main__":
    main()
