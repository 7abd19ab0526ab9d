"""Two models on one hold-out that neither learnt from, where they were not judged on the same items.

The hold-out is a dataset's test split. A model that was judged on it is taken at its kept answers; another is asked
now, without the rows it learnt from, which are counted and told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from medbench import comparing_judged, datasets, predicting
from medbench.comparing_judged import Answered, Ints
from medbench.errors import MedbenchError
from medbench.records import Examples, Item
from medbench.workspace import Workspace

FEWEST, MOST = 30, 2_000
"""Items that a comparison needs, and those a model is asked for at most."""
_PART = 64
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class HoldOut:
    """What several models answered for the same items.

    Attributes:
        models: One entry for each model, in the order asked for, all with the same items and label order.
        groups: (n,) index of what is resampled together.
        dataset: Name of the dataset whose test split this is.
        left_out: Items of the split that one of the models learnt from.
    """

    models: tuple[Answered, ...]
    groups: Ints
    dataset: str
    left_out: int


def answers(workspace: Workspace, ids: Sequence[str], dataset_id: str, tell: Tell | None = None) -> HoldOut:
    """Return what models say of the test split of a dataset.

    Args:
        workspace: Where models and datasets lie.
        ids: The models; their labels are the same, in any order.
        dataset_id: The dataset. Of a test split with more than `MOST` items so many are drawn, always the same.
        tell: Told (items answered, items to answer) over the models that are asked.

    Raises:
        MedbenchError: The dataset is gone or has no test split, or fewer than `FEWEST` items are left that no model
            learnt from.
    """
    dataset = datasets.load(workspace, dataset_id)
    examples, positions = dataset.examples("test"), dataset.positions("test")
    if not len(examples):
        raise MedbenchError("a hold-out that both can be asked for", f"no test split in {dataset.name}", "Split it.")
    if len(examples) > MOST:
        drawn = np.sort(np.random.default_rng(0).choice(len(examples), MOST, replace=False))
        examples, positions = examples.take(drawn), positions[drawn]
    kept = {name: _kept(workspace, name, dataset_id, positions) for name in ids}
    loaded = {name: predicting.load(workspace, name) for name, own in kept.items() if own is None}
    items = [Item(str(at), "", text) for at, text in zip(positions, examples.items, strict=True)]
    seen = np.zeros(len(items), dtype=bool)
    for one in loaded.values():
        seen |= predicting.seen_in_training(one, items)
    fresh = np.flatnonzero(~seen)
    if len(fresh) < FEWEST:
        raise MedbenchError(
            f"at least {FEWEST} test items of {dataset.name} that neither model learnt from",
            f"{len(fresh)} of {len(items)}",
            "Import a labelled file that is new to both and train the candidate on it.",
        )
    cards = {name: dict(own.card if own else loaded[name].card) for name, own in kept.items()}
    labels = tuple(cards[ids[-1]]["labels"])
    truth, found = _truth(examples, labels)[fresh], []
    new, asked = [items[int(row)] for row in fresh], 0
    for name, own in kept.items():
        if own is None:
            told = None if tell is None else partial(_tell, tell, asked * len(new), len(new), len(loaded) * len(new))
            probabilities, decided = predicting.tables(loaded[name], new, _PART, told)
            asked += 1
        else:
            probabilities, decided = own.probabilities[fresh], own.decided[fresh]
        card = cards[name]
        order = [card["labels"].index(label) for label in labels]
        where = (name, str(card["name"]), {**card, "labels": list(labels)}, "test", positions[fresh])
        found.append(Answered(*where, probabilities[:, order], truth, decided[:, order], np.zeros((0, 3))))
    return HoldOut(tuple(found), _groups(examples, fresh), dataset.name, int(seen.sum()))


def _tell(tell: Tell, before: int, own: int, whole: int, share: float) -> None:
    tell(before + round(share * own), whole)


def _kept(workspace: Workspace, model_id: str, dataset_id: str, positions: Ints) -> Answered | None:
    """Return what a run kept for these rows; None when it was judged on others."""
    try:
        own = comparing_judged.answered(workspace, model_id)
    except MedbenchError:
        return None
    place = {int(at): row for row, at in enumerate(own.positions)}
    same = str(own.card["dataset"]["id"]) == dataset_id and own.split == "test"
    if not same or not all(int(at) in place for at in positions):
        return None
    rows = [place[int(at)] for at in positions]
    return replace(own, probabilities=own.probabilities[rows], decided=own.decided[rows])


def _truth(examples: Examples, labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return (n, L) truth in the order of these labels; one the dataset does not know is never true."""
    found = np.zeros((len(examples), len(labels)), dtype=bool)
    for at, label in enumerate(labels):
        if label in examples.labels:
            found[:, at] = examples.truth[:, examples.labels.index(label)]
    return found


def _groups(examples: Examples, rows: Ints) -> Ints:
    if not examples.groups:
        return np.arange(len(rows), dtype=np.int64)
    return np.unique(np.array(examples.groups)[rows], return_inverse=True)[1].astype(np.int64)
