"""Do the small vectors that a starter ships find the same similar lesions as the whole ones?

    python benchmarks/lesion_neighbours.py MODEL [--pictures 1000]

MODEL is a model of pictures whose dataset is in the workspace. For pictures of its test split, the five most similar
training lesions by the vectors of `shipped_lesions` (128 principal components, one byte each) beside those by the
network's own vectors: how many they share, how many carry the picture's own diagnosis, and what the file weighs. Prints
a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from medbench import datasets, predicting, shipped_lesions
from medbench.workspace import Workspace

COUNT = 5


def nearest(lesions: list[str], similarity: np.ndarray) -> list[int]:
    """Return the positions of the most similar pictures, one of each lesion."""
    found: dict[str, int] = {}
    for at in np.argsort(-similarity, kind="stable").tolist():
        found.setdefault(lesions[at], at)
        if len(found) == COUNT:
            break
    return list(found.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--pictures", type=int, default=1000)
    args = parser.parse_args()
    workspace = Workspace.here()
    loaded = predicting.load(workspace, args.model)
    dataset = datasets.load(workspace, str(loaded.card["dataset"]["id"]))
    splits = loaded.card["learnt_from"]["splits"]
    rows = dataset.rows(dataset.positions(*splits).tolist())
    vectors = loaded.model.embed(dataset.examples(*splits).items)
    lesions, labels = [str(row["group"] or row["id"]) for row in rows], ["; ".join(row["labels"]) for row in rows]
    small = shipped_lesions.coded([str(row["id"]) for row in rows], lesions, labels, vectors)
    test = dataset.examples("test")
    asked = loaded.model.embed(test.items[: args.pictures])
    truth = [test.labels[int(row.argmax())] for row in test.truth[: args.pictures]]
    shared, same = [], {"whole": [], "small": []}
    for vector, label in zip(asked, truth, strict=True):
        whole = nearest(lesions, vectors @ vector)
        coded = [at for at, _ in small.nearest(vector, COUNT)]
        shared.append(len({lesions[at] for at in whole} & {lesions[at] for at in coded}) / COUNT)
        same["whole"].append(np.mean([labels[at] == label for at in whole]))
        same["small"].append(np.mean([labels[at] == label for at in coded]))
    with tempfile.TemporaryDirectory() as folder:
        shipped_lesions.save(Path(folder), small)
        weight = (Path(folder) / shipped_lesions.FILE).stat().st_size
    print(f"{args.model}: {len(asked):,} test pictures, {len(rows):,} training pictures\n")
    print(
        "| vectors | size | neighbours shared, of 5 | neighbours with the picture's diagnosis |\n|---|---:|---:|---:|"
    )
    print(f"| whole, {vectors.shape[1]} numbers | {vectors.size * 2 / 1e6:.1f} MB | 5 | {np.mean(same['whole']):.3f} |")
    told = f"{weight / 1e6:.2f} MB | {COUNT * np.mean(shared):.2f} | {np.mean(same['small']):.3f}"
    print(f"| small, {small.codes.shape[1]} bytes | {told} |")


if __name__ == "__main__":
    main()
