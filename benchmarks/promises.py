"""Do conformal sets hold what they promise?

    python benchmarks/promises.py sets DATASET [--splits 20] [--family linear]

The family is fitted once on the train split; the other splits are joined and cut at random, 20 times, into a half that
trust is fitted on and a half on which the 90 % sets are counted. The mean and the range of the coverage, and of the
error among answers that no person is asked about: once as a model without a named error has it, and once where an error
5 points above the least that is offered is accepted afterwards. How well foreign items are told from a model's own is
measured by `medbench strangers MODEL`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from medbench import datasets, human_band, trust, trust_figures
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.records import Device, Scores, Truth
from medbench.workspace import Workspace


def sets(workspace: Workspace, name: str, splits: int, family_name: str) -> None:
    """Print the coverage of 90 % sets over random halves."""
    dataset = datasets.load(workspace, name)
    train, rest = dataset.examples("train"), dataset.examples("validation", "test")
    family = get_family(family_name)
    fitting = Fitting(np.random.default_rng(0), Device("cpu"), Say())
    model = family.fit(train, rest.take([]), family.parse({}), fitting)
    scores = model.scores(rest.items)
    kept, sizes, wrong, every, alone = [], [], [], [], []
    usual: list[tuple[float, float, float]] = []
    later: list[tuple[float, float, float]] = []
    for split in range(splits):
        rng = np.random.default_rng(split)
        order = rng.permutation(len(rest))
        half, other = order[: len(order) // 2], order[len(order) // 2 :]
        fitted = trust.fit_trust(scores[half], rest.truth[half], rest.answer, None, None, rng)
        told = trust_figures.measured(fitted, fitted.calibrate(scores[other]), rest.truth[other], rest.labels)
        if fitted.band is not None:
            usual.append(_promised(fitted, scores[other], rest.truth[other]))
            if offered := [band.accepted for band in fitted.band.offered()]:
                chosen = replace(fitted, band=fitted.band.chosen(min(offered) + 0.05))
                later.append(_promised(chosen, scores[other], rest.truth[other]))
        kept.append(told["sets"]["kept"]["value"])
        sizes.append(told["sets"]["mean_size"])
        alone.append(told["alone"]["share"]["value"])
        wrong.append(told["alone"].get("wrong", {"value": np.nan})["value"])
        every.append(told["alone"]["wrong_of_all"]["value"])
    print(f"{name}, {family_name}, {len(rest):,} items in halves, {splits} times\n")
    print("| | mean | least | most |\n|---|---:|---:|---:|")
    rows = {"90 % sets hold the truth": kept, "labels in a set": sizes, "answered without a person": alone}
    for words, found in (rows | {"of these with a wrong label": wrong, "of all": every}).items():
        values = [value for value in found if not np.isnan(value)] or [np.nan]
        print(f"| {words} | {np.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    for what, over in (("usual", usual), ("accepted afterwards", later)):
        for column, words in enumerate(("accepted error", "answered alone under it", "error of these")):
            values = [one[column] for one in over] or [np.nan]
            print(f"| {what}: {words} | {np.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    for what, over in (("usual", usual), ("accepted afterwards", later)):
        above = sum(error > accepted for accepted, _, error in over)
        print(f"\n{what}: the error of answers alone was above the accepted one in {above} of {len(over)}.")


def _promised(fitted: trust.Trust, scores: Scores, truth: Truth) -> tuple[float, float, float]:
    """Return the accepted error, the share answered without a person, and the error among these answers."""
    prob = fitted.calibrate(scores)
    alone = ~fitted.unsure(prob)
    error = human_band.errors(fitted.decide(prob), truth, fitted.answer)[alone]
    accepted = fitted.band.accepted if fitted.band else 0.0
    return accepted, float(alone.mean()), float(error.mean()) if len(error) else 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    of_sets = verbs.add_parser("sets")
    of_sets.add_argument("dataset")
    of_sets.add_argument("--splits", type=int, default=20)
    of_sets.add_argument("--family", default="linear")
    args = parser.parse_args()
    sets(Workspace.here(), args.dataset, args.splits, args.family)


if __name__ == "__main__":
    main()
