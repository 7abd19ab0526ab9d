"""What runs left of their judgement: each model's answers on the items it was judged on, and who can be compared.

Every run keeps its answers (`judged.npz`), so nothing is computed by a model here. Models that were judged on other
items are fenced off with the reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import hierarchy
from medbench.comparing_tests import mean_sd
from medbench.datasets import truth_of
from medbench.errors import MedbenchError
from medbench.families import get_family
from medbench.hierarchy import Hierarchy
from medbench.records import SPLITS, AnswerKind, Scores, Truth
from medbench.tasks import get_task
from medbench.workspace import Workspace, read_cards, read_json, undamaged

MAJORITY = "majority"
BEFORE_TUNING = "before tuning"
_NAMED_BY = 40  # characters of what differs that a name can hold
_NEEDED = ("id", "name", "task", "family", "dataset", "judged_on", "metrics", "labels")
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answered:
    """What one model answered for the items it was judged on.

    Attributes:
        id: Model id.
        name: What the user reads.
        card: Its card.
        split: "test", "validation" or "out-of-fold".
        positions: (n,) rows of the dataset.
        probabilities: (n, L) float32, calibrated.
        truth: (n, L) bool.
        decided: (n, L) bool.
        raw_reliability: (b, 3) claimed, true, n per bin before calibration; empty when the run did not keep it.
    """

    id: str
    name: str
    card: Mapping[str, Any]
    split: str
    positions: Ints
    probabilities: Scores
    truth: Truth
    decided: Truth
    raw_reliability: Floats

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Label codes in column order."""
        return tuple(self.card["labels"])

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Label -> its column."""
        return {label: at for at, label in enumerate(self.labels)}

    @property
    def answer(self) -> AnswerKind:
        """Whether an item has "one" label or "many"."""
        return "many" if self.card["answer"] == "many" else "one"

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(n,) whether every label of the item is right."""
        return np.asarray((self.truth == self.decided).all(axis=1))


@dataclass(frozen=True)
class JudgedItems:
    """What is known of the judged items beside the answers.

    Attributes:
        groups: (n,) index of what is resampled together (patient, article, duplicate cluster).
        shares: (L,) share of the train split that carries each label.
        tree: The dataset's label tree as it is now, for hierarchical figures of models old and new; None without one.
        n_train: Items of the train split.
    """

    groups: Ints
    shares: Floats
    tree: Hierarchy | None = None
    n_train: int = 0

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0


# --- who can be compared ---------------------------------------------------------------------------------------


def cards(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the cards of all models, newest first; damaged ones are left out."""
    return read_cards(workspace.model_cards(), _NEEDED)


def by_dataset(found: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return dataset id -> cards of the models that learnt from it, the dataset with most models first."""
    held: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for card in found:
        held[str(card["dataset"]["id"])].append(card)
    return dict(sorted(held.items(), key=lambda pair: -len(pair[1])))


def fence(workspace: Workspace, chosen: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, str]]:
    """Part models that were judged on the same items from the others.

    The items that most of them share decide; of equals, those of the first model.

    Args:
        workspace: Where the models lie.
        chosen: Cards of the models.

    Returns:
        The ids that can be compared, in the order given, and id -> why not for the others.
    """
    kept = {str(card["id"]): (workspace.model(str(card["id"])) / "judged.npz").exists() for card in chosen}
    usual = Counter(_judged_on(card) for card in chosen if kept[str(card["id"])])
    if not usual:
        return [], {str(card["id"]): _WITHOUT for card in chosen}
    items = max(usual, key=lambda key: usual[key])
    fenced = {}
    for card in chosen:
        if not kept[str(card["id"])]:
            fenced[str(card["id"])] = _WITHOUT
        elif _judged_on(card) != items:
            fenced[str(card["id"])] = _why(card, items)
    return [name for name in kept if name not in fenced], fenced


_WITHOUT = "came without the answers it was judged by (starters do): train it here to compare it"


def _judged_on(card: Mapping[str, Any]) -> tuple[str, str]:
    return str(card["dataset"]["id"]), str(card["judged_on"])


def _why(card: Mapping[str, Any], items: tuple[str, str]) -> str:
    if str(card["dataset"]["id"]) != items[0]:
        return f"judged on another dataset, “{card['dataset'].get('name') or card['dataset']['id']}”"
    return f"judged on other items: {card['judged_on']}; the others on {items[1]}"


def answered(workspace: Workspace, model_id: str) -> Answered:
    """Return what a model answered for the items it was judged on.

    Raises:
        MedbenchError: There is no such model, it came without its answers, or they are damaged.
    """
    folder = workspace.model(model_id)
    if not (folder / "model.json").exists():
        raise MedbenchError("the id of a model", repr(model_id), "See: medbench models.")
    card = read_json(folder / "model.json")
    if not (folder / "judged.npz").exists():
        raise MedbenchError("the answers a model was judged by", f"{model_id}, which {_WITHOUT}", "Choose another.")
    with undamaged(folder, "model"), np.load(folder / "judged.npz", allow_pickle=False) as stored:
        raw = stored["raw_reliability"] if "raw_reliability" in stored.files else np.zeros((0, 3))
        return Answered(
            model_id,
            str(card["name"]),
            card,
            str(stored["split"]),
            stored["positions"],
            stored["probabilities"],
            stored["truth"],
            stored["decided"],
            raw,
        )


def same_items(models: Sequence[Answered]) -> None:
    """Raise MedbenchError unless all models were judged on the very same items and labels."""
    first = models[0]
    for other in models[1:]:
        same = np.array_equal(first.positions, other.positions) and first.labels == other.labels
        if not same or not np.array_equal(first.truth, other.truth):
            raise MedbenchError(
                f"models judged on the same items as {first.id}", f"{other.id} on others", "Compare it apart."
            )


def items_of(workspace: Workspace, model: Answered) -> JudgedItems:
    """Return the groups of a model's judged items, and how often the train split carries each label.

    Only three columns of the dataset are read, so that long texts cost nothing.
    """
    import pyarrow.parquet as parquet

    folder = workspace.dataset(str(model.card["dataset"]["id"]))
    with undamaged(folder, "dataset"):
        table = parquet.read_table(folder / "rows.parquet", columns=["cluster", "split", "labels"])
        clusters = np.asarray(table["cluster"].to_pylist(), dtype=object)[model.positions].astype(str)
        trained = [
            labels
            for labels, split in zip(table["labels"].to_pylist(), table["split"].to_pylist(), strict=True)
            if split == SPLITS[0]
        ]
    groups = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    tree = hierarchy.load(folder)
    tree = tree if tree is None or tree.labels == model.labels else tree.with_labels(model.labels)
    truth = truth_of(trained, model.labels) if trained else model.truth
    return JudgedItems(groups, (truth if tree is None else tree.closed(truth)).mean(axis=0), tree, len(trained))


def tree_mark(workspace: Workspace, model_id: str) -> str:
    """Return eight letters for the tree that a model's dataset has now, "" without one."""
    card = read_json(workspace.model(model_id) / "model.json")
    tree = hierarchy.load(workspace.dataset(str(card["dataset"]["id"])))
    return "" if tree is None else tree.digest


def majority(like: Answered, items: JudgedItems) -> Answered:
    """Return the dullest rule on the same items: the most frequent label of the train split, for everything."""
    decided = np.zeros_like(like.truth)
    decided[:, int(items.shares.argmax())] = True
    shares = np.tile(items.shares.astype(np.float32), (len(like.truth), 1))
    nothing = np.zeros((0, 3))
    card = {**like.card, "id": MAJORITY, "family": MAJORITY, "options": {}, "cost": {}}
    return Answered(
        MAJORITY,
        "Always the most frequent label",
        card,
        like.split,
        like.positions,
        shares,
        like.truth,
        decided,
        nothing,
    )


# --- what differs between runs ---------------------------------------------------------------------------------


def headline(card: Mapping[str, Any]) -> str:
    """Return the metric that decides for a model's task."""
    return get_task(str(card["task"])).metrics[0]


def differences(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return model id -> the options in which it differs from another of its family, "C=3, loss=logistic"."""
    told = {}
    for card in found:
        kin = [_settings(other) for other in found if other["family"] == card["family"]]
        mine = _settings(card)
        names = [name for name in mine if any(other.get(name) != mine[name] for other in kin)]
        told[str(card["id"])] = ", ".join(f"{name}={_short(mine[name])}" for name in names)
    return told


def names_of(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return model id -> a name that tells the models apart.

    Where a name repeats, what differs stands behind it, "encoder (seed=1)"; the end of the id when that is long or no
    help.
    """
    often = Counter(str(card["name"]) for card in found)
    behind = differences(found)
    told = {str(card["id"]): str(card["name"]) for card in found}
    told |= {id: f"{name} ({behind[id]})" for id, name in told.items() if often[name] > 1}
    twice = Counter(told.values())
    for card in found:
        name, id = str(card["name"]), str(card["id"])
        if often[name] > 1 and (twice[told[id]] > 1 or not 0 < len(behind[id]) <= _NAMED_BY):
            told[id] = f"{name} ({id[-4:]})"
    return told


def _settings(card: Mapping[str, Any]) -> dict[str, Any]:
    return {**card.get("options", {}), "seed": card.get("seed", 0)}


def _short(value: Any) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return words if len(words) <= 40 else f"{words[:39]}…"


def baselines(found: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return name -> figures of what these models have to beat, from their cards.

    The majority rule, the simpler families that are not among the models themselves, and each base before tuning; bases
    of models with one name stand once where their figures are the same.
    """
    shown, names = {card["family"] for card in found}, names_of(found)
    told: dict[str, Mapping[str, Any]] = {}
    for card in found:
        for kind, figures in card.get("baselines", {}).items():
            if kind == MAJORITY:
                told.setdefault("Always the most frequent label", figures)
            elif kind != BEFORE_TUNING and kind not in shown:
                told.setdefault(get_family(kind).title, figures)
    tuned = [card for card in found if BEFORE_TUNING in card.get("baselines", {})]
    for card in tuned:
        figures = card["baselines"][BEFORE_TUNING]
        same = all(one["baselines"][BEFORE_TUNING] == figures for one in tuned if one["name"] == card["name"])
        told[f"{card['name'] if same else names[str(card['id'])]}, before tuning"] = figures
    return told


@dataclass(frozen=True, slots=True)
class Repeated:
    """One method trained several times with the same options and other seeds.

    Attributes:
        ids: Its models.
        name: Family and options that differ from other methods of the family.
        mean: Mean of the metric.
        sd: Its sample standard deviation.
    """

    ids: tuple[str, ...]
    name: str
    mean: float
    sd: float


def repeated(found: Sequence[Mapping[str, Any]], metric: str) -> list[Repeated]:
    """Return the methods that were trained with several seeds, each with the mean ± sd of a metric."""
    alike: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for card in found:
        alike[f"{card['family']} {sorted(card.get('options', {}).items(), key=str)}"].append(card)
    told = []
    for group in alike.values():
        values = [card["metrics"][metric]["value"] for card in group if metric in card["metrics"]]
        if len({card.get("seed", 0) for card in group}) > 1 and len(values) > 1:
            mean, sd = mean_sd(values)
            told.append(Repeated(tuple(str(card["id"]) for card in group), str(group[0]["name"]), mean, sd))
    return told
