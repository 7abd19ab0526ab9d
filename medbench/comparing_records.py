"""The judged items behind a cell of a comparison: one description of which, whatever table the cell stands in.

A cell says what must hold of an item (a label true or not, decided by a model or not, a group of items), by which
labels answers are right or wrong, and how the two models at hand fare. From that come the items, their number for each
way the two can fare, a sentence, and a table to take away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from medbench.calibration import EPSILON
from medbench.comparing_judged import Answered
from medbench.datasets import Dataset

if TYPE_CHECKING:
    import pandas as pd

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Facts = Mapping[str, Sequence[str]]
Kind = Literal["differ", "only_first", "only_second", "both_wrong", "both_right", "all"]
KINDS: tuple[Kind, ...] = ("differ", "only_first", "only_second", "both_wrong", "both_right", "all")
TRUTH = ""
"""Stands for the true labels where the id of a model could stand."""
LABELS_SHOWN = 3
_QUOTED = 300  # characters of a text in the table


class Said(NamedTuple):
    """One thing that must hold: that a model's answer, or the truth, has a label or lacks it."""

    who: str
    label: str
    has: bool = True


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the judged items are meant; all that is given must hold.

    Attributes:
        first: Id of one model.
        second: Id of the other.
        kind: How the two fare: their decisions differ, only one of them is right, both are wrong, both are right, all.
        labels: Labels by which an answer is right or wrong; the whole answer when empty. Where nothing is `said`, only
            items count for which one of them is true or decided.
        said: What must hold of the truth and of models' answers.
        group: (fact, value) of a group of items, "length" and "under 100 words".
        threshold: Probability at and above which every label is decided; None for each model's own decisions.
    """

    first: str
    second: str
    kind: Kind = "differ"
    labels: tuple[str, ...] = ()
    said: tuple[Said, ...] = ()
    group: tuple[str, str] | None = None
    threshold: float | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """The labels whose probabilities tell why; empty when they are none, or too many to be shown."""
        named = dict.fromkeys([*self.labels, *(one.label for one in self.said)])
        return tuple(named) if len(named) <= LABELS_SHOWN else ()


def on_label(first: Answered, second: Answered, label: str | None) -> Selection:
    """Return the items by which two models are compared on a label, or whole items when None.

    With one label per item those that carry it; with many those for which it is true or decided by either.
    """
    if label is None:
        return Selection(first.id, second.id)
    said = (Said(TRUTH, label),) if first.answer == "one" else ()
    return Selection(first.id, second.id, labels=(label,), said=said)


def missed_for(first: Answered, second: str, true: str, decided: str) -> Selection:
    """Return the items of which the first model missed one label and wrongly decided another."""
    said = (Said(TRUTH, true), Said(first.id, true, False), Said(first.id, decided), Said(TRUTH, decided, False))
    return Selection(first.id, second, "all", said=said)


# --- the items -------------------------------------------------------------------------------------------------


def right(selection: Selection, model: Answered) -> Flags:
    """Return (n,) whether a model's answer is right by the labels at hand."""
    at = _columns(selection, model)
    return np.asarray((model.truth[:, at] == _decided(selection, model)[:, at]).all(axis=1))


def by_kind(selection: Selection, models: Sequence[Answered], facts: Facts | None = None) -> dict[Kind, Flags]:
    """Return (n,) flags of the items of every kind; `selection.kind` plays no part.

    Args:
        selection: What must hold.
        models: Judged on the same items; the two of the selection and all that it names are among them.
        facts: Fact -> the value of each item, for a selection of a group.
    """
    held = {model.id: model for model in models}
    first, second = held[selection.first], held[selection.second]
    at, kept = _columns(selection, first), _kept(selection, held, facts or {})
    decided = [_decided(selection, model)[:, at] for model in (first, second)]
    if selection.labels and not selection.said:
        kept &= (first.truth[:, at] | decided[0] | decided[1]).any(axis=1)
    one, other = right(selection, first), right(selection, second)
    return {
        "differ": kept & (decided[0] != decided[1]).any(axis=1),
        "only_first": kept & one & ~other,
        "only_second": kept & other & ~one,
        "both_wrong": kept & ~one & ~other,
        "both_right": kept & one & other,
        "all": kept,
    }


def ordered(selection: Selection, models: Sequence[Answered], flags: Flags) -> Ints:
    """Return the marked items in the order in which they are read, as `order_words` says."""
    held = {model.id: model for model in models}
    rows = np.flatnonzero(flags)
    first, second = held[selection.first], held[selection.second]
    at = [first.places[label] for label in selection.shown] or slice(None)
    mine, others = (model.probabilities[rows][:, at].astype(np.float64) for model in (first, second))
    if _apart_first(selection.kind):
        far = np.abs(mine - others).max(axis=1, initial=0.0)
    else:
        kept, truth = np.clip(mine, EPSILON, 1 - EPSILON), first.truth[rows][:, at]
        far = -np.log(np.where(truth, kept, 1 - kept)).sum(axis=1)
    return rows[np.argsort(-far, kind="stable")]


def behind(selection: Selection, models: Sequence[Answered], facts: Facts | None = None) -> Ints:
    """Return the positions, among the judged items, of those that are meant, in the order of `ordered`."""
    return ordered(selection, models, by_kind(selection, models, facts)[selection.kind])


def _columns(selection: Selection, model: Answered) -> list[int] | slice:
    return [model.places[label] for label in selection.labels] or slice(None)


def _decided(selection: Selection, model: Answered) -> Flags:
    if selection.threshold is None:
        return model.decided
    return np.asarray(model.probabilities >= np.float32(selection.threshold))


def _kept(selection: Selection, models: Mapping[str, Answered], facts: Facts) -> Flags:
    truth = models[selection.first].truth
    kept = np.ones(len(truth), dtype=bool)
    for who, label, has in selection.said:
        flags = truth if who == TRUTH else _decided(selection, models[who])
        kept &= flags[:, models[selection.first].places[label]] == has
    if selection.group is not None:
        fact, value = selection.group
        kept &= np.asarray(facts[fact], dtype=object) == value
    return kept


# --- how two models fare, label by label -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parting:
    """How two models fare on one label, or on whole items.

    Attributes:
        label: The label; None for whole items (every label of the item right).
        n: Items that count, see `on_label`.
        both_right: Items both got right.
        only_first: Items only the first got right.
        only_second: Items only the second got right.
        both_wrong: Items neither got right.
    """

    label: str | None
    n: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int


def partings(first: Answered, second: Answered) -> list[Parting]:
    """Return one entry for whole items, then one per label that counts anywhere, those with most partings first."""
    live = (first.truth | first.decided | second.decided).any(axis=0)
    found = [_parting(first, second, first.labels[at]) for at in np.flatnonzero(live)]
    found = [one for one in found if one.n]
    found.sort(key=lambda one: -(one.only_first + one.only_second))
    return [_parting(first, second, None), *found]


def _parting(first: Answered, second: Answered, label: str | None) -> Parting:
    flags = by_kind(on_label(first, second, label), (first, second))
    kinds: tuple[Kind, ...] = ("all", "both_right", "only_first", "only_second", "both_wrong")
    return Parting(label, *(int(flags[kind].sum()) for kind in kinds))


# --- in words, and as a table ----------------------------------------------------------------------------------


def kind_words(selection: Selection, names: Mapping[str, str]) -> dict[Kind, str]:
    """Return what a user reads for each kind."""
    return {
        "differ": "answers differ",
        "only_first": f"only {names[selection.first]} right",
        "only_second": f"only {names[selection.second]} right",
        "both_wrong": "both wrong",
        "both_right": "both right",
        "all": "all of them",
    }


def order_words(selection: Selection, names: Mapping[str, str]) -> str:
    """Return which records come first, in words."""
    if _apart_first(selection.kind):
        return "those on which the models differ most first"
    return f"those whose truth {names[selection.first]} found least probable first"


def _apart_first(kind: Kind) -> bool:
    return kind in ("differ", "only_first", "only_second")


def sentence(selection: Selection, names: Mapping[str, str], name_of: Callable[[str], str]) -> str:
    """Return what holds of the items and when an answer is right: "True: C04; linear does not say C04. …".

    Args:
        selection: The items.
        names: Model id -> what the user reads.
        name_of: Label -> what the user reads.
    """
    parts = [_said_words(one, names, name_of) for one in selection.said]
    if selection.group is not None:
        parts.append(f"{selection.group[0]}: {selection.group[1]}")
    if selection.threshold is not None:
        parts.append(f"decided from {selection.threshold * 100:.0f} % on")
    told = "; ".join(parts)
    what = f"{told[:1].upper()}{told[1:]}. " if parts else ""
    if not selection.labels:
        return f"{what}Right: every label of the record."
    if len(selection.labels) == 1:
        return f"{what}Right: {name_of(selection.labels[0])}, given where true and nowhere else."
    return f"{what}Right: {len(selection.labels):,} labels, given where true and nowhere else."


def _said_words(one: Said, names: Mapping[str, str], name_of: Callable[[str], str]) -> str:
    label = name_of(one.label)
    if one.who == TRUTH:
        return f"{'true' if one.has else 'not true'}: {label}"
    return f"{names[one.who]} {'says' if one.has else 'does not say'} {label}"


def table(
    dataset: Dataset,
    models: Sequence[Answered],
    rows: Ints,
    selection: Selection,
    names: Mapping[str, str],
    name_of: Callable[[str], str],
) -> pd.DataFrame:
    """Return one line per record: where it stands, how it begins, what is true, and what each model said of it.

    Args:
        dataset: What the records belong to.
        models: Whose answers are told, judged on the same items.
        rows: Positions among the judged items.
        selection: By which labels an answer is right, and whose probabilities are told; the most probable label of
            each model when it names none.
        names: Model id -> what the user reads.
        name_of: Label -> what the user reads.
    """
    import pandas as pd

    rights = {model.id: right(selection, model) for model in models}
    lines = []
    for row, record in zip(rows.tolist(), dataset.rows(models[0].positions[rows]), strict=True):
        line: dict[str, Any] = {"row": record["position"] + 1, "id": str(record.get("id") or "")}
        line |= _beginning(record)
        line["true"] = _listed(models[0], models[0].truth[row], name_of)
        for model in models:
            name = names[model.id]
            line[f"{name} says"] = _listed(model, model.decided[row], name_of)
            line[f"{name} right"] = "yes" if rights[model.id][row] else "no"
            line |= _claims(model, row, selection.shown, name, name_of)
        lines.append(line)
    return pd.DataFrame(lines)


def _beginning(record: Mapping[str, Any]) -> dict[str, str]:
    if record.get("image"):
        return {"picture": str(record["image"]).rsplit("/", 1)[-1]}
    return {"title": str(record.get("title") or ""), "text": " ".join(str(record.get("text") or "").split())[:_QUOTED]}


def _listed(model: Answered, marked: Flags, name_of: Callable[[str], str]) -> str:
    return "; ".join(name_of(model.labels[at]) for at in np.flatnonzero(marked))


def _claims(
    model: Answered, row: int, labels: Sequence[str], name: str, name_of: Callable[[str], str]
) -> dict[str, object]:
    if labels:
        columns = [model.places[label] for label in labels]
        return {
            f"{name}: {name_of(label)}": round(float(model.probabilities[row, at]), 4)
            for label, at in zip(labels, columns, strict=True)
        }
    top = int(model.probabilities[row].argmax())
    probability = round(float(model.probabilities[row, top]), 4)
    return {f"{name}: most probable": name_of(model.labels[top]), f"{name}: its probability": probability}
