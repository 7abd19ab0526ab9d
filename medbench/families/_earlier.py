"""Models that earlier runs left, for families that build on them: found, refused or loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medbench import trust
from medbench.errors import MedbenchError
from medbench.families import Model, Surroundings, get_family
from medbench.records import SPLITS, Device, Examples, ItemKind
from medbench.trust import Trust
from medbench.workspace import Workspace, read_cards, undamaged

_READS = {"text": "texts", "image": "pictures"}
_ANSWERS = {"one": "one label", "many": "several labels"}
_LISTED = 5


@dataclass(frozen=True, eq=False)
class Earlier:
    """A model that an earlier run left: its folder and its card."""

    folder: Path
    card: dict[str, Any]

    @property
    def id(self) -> str:
        """The model's id."""
        return str(self.card["id"])

    @property
    def name(self) -> str:
        """What the user reads of it."""
        return str(self.card["name"])

    @property
    def family(self) -> str:
        """The name of its family."""
        return str(self.card["family"])

    @property
    def dataset(self) -> str:
        """The id of the dataset it learnt from."""
        return str(self.card.get("dataset", {}).get("id", ""))

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, in the order of its scores."""
        return tuple(self.card.get("labels", ()))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits its kept weights learnt from; all of them when the card does not say."""
        return tuple(self.card.get("learnt_from", {}).get("splits", SPLITS))

    @property
    def item(self) -> ItemKind:
        """What it reads."""
        return "image" if self.card.get("item") == "image" else "text"


def of_dataset(around: Surroundings) -> list[Earlier]:
    """Return the models that learnt from this dataset, newest first; of a model and its copies only the first."""
    found: dict[str, Earlier] = {}
    for one in _all(around.workspace):
        if one.dataset == around.dataset and one.item == around.item:
            found.setdefault(str(one.card.get("run") or one.id), one)
    return list(found.values())


def _all(workspace: Workspace | None) -> list[Earlier]:
    if workspace is None:
        return []
    cards = read_cards(workspace.model_cards(), ("id", "name", "family", "metrics"))
    return [Earlier(workspace.model(str(card["id"])), card) for card in cards]


def find(around: Surroundings, model_id: str, role: str, like: Examples) -> Earlier:
    """Return a model that may be built on: of the same dataset, with the same labels and kind of answer.

    The dataset's id stands for its rows and its splits. A model of another one may have learnt from this one's test
    rows, and nobody could tell.

    Args:
        around: The models, and the dataset that is learnt from.
        model_id: The model asked for.
        role: What it is for, as in "a member of the ensemble".
        like: Examples with the labels and the kind of answer it must have.

    Raises:
        MedbenchError: There is no such model, or it does not fit.
    """
    found = next((one for one in _all(around.workspace) if one.id == model_id), None)
    here = ", ".join(one.id for one in of_dataset(around)[:_LISTED])
    todo = f"Models of this dataset: {here}." if here else "No model of this dataset is here yet: train one first."
    if found is None:
        raise MedbenchError(f"the id of a model as {role}", repr(model_id), todo)
    if found.item != around.item:
        raise MedbenchError(
            f"a model that reads {_READS[around.item]} as {role}",
            f"{model_id!r}, which reads {_READS[found.item]}",
            todo,
        )
    if found.dataset != around.dataset:
        name = str(found.card.get("dataset", {}).get("name", ""))
        raise MedbenchError(
            f"a model that learnt from this dataset as {role}",
            f"{model_id!r}, which learnt from {name!r} ({found.dataset}) and may know this one's test rows",
            todo,
        )
    check_answers(found, like, role, todo)
    return found


def check_answers(found: Earlier, like: Examples, role: str, todo: str = "Choose another.") -> None:
    """Refuse a model with other labels or another kind of answer. Raises MedbenchError."""
    answer = str(found.card.get("answer"))
    if answer != like.answer:
        raise MedbenchError(
            f"a model that gives {_ANSWERS[like.answer]} as {role}",
            f"{found.id!r}, which gives {_ANSWERS.get(answer, answer)}",
            todo,
        )
    if found.labels != like.labels:
        raise MedbenchError(
            f"a model with the labels {_shortly(like.labels)} as {role}",
            f"{found.id!r} with {_shortly(found.labels)}",
            todo,
        )


def _shortly(labels: Sequence[str]) -> str:
    return ", ".join(labels[:8]) + (" …" if len(labels) > 8 else "")


def check_unseen(found: Earlier, role: str) -> None:
    """Refuse a model whose kept weights learnt from more than the train split. Raises MedbenchError."""
    more = [split for split in found.splits if split != "train"]
    if more:
        raise MedbenchError(
            f"a model that learnt from the train split only as {role}",
            f"{found.id!r}, which also learnt from the {' and '.join(more)} rows",
            "Train it again with keep_learning: false.",
        )


def load(found: Earlier, device: Device) -> tuple[Model, Trust]:
    """Load a model and what was calibrated for it. Raises MedbenchError when files are missing or damaged."""
    with undamaged(found.folder, "model"):
        return get_family(found.family).load(found.folder, device), trust.load(found.folder)
