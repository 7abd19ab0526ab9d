"""Choosing among the models of a dataset: members of an ensemble, a teacher, a network to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from medbench import predicting
from medbench.datasets import Dataset
from medbench.families import get_family
from medbench.tasks import get_task
from medbench.workspace import Workspace

NOTHING_YET = "No model of this dataset fits here yet"


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that can be built on: its id, its family, and what the user reads of it."""

    id: str
    family: str
    words: str


def trained_on(workspace: Workspace, dataset: Dataset) -> list[Trained]:
    """Return the models that learnt from a dataset, newest first, each with its headline figure."""
    headline = get_task(dataset.task).metrics[0]
    found = []
    for card in predicting.list_models(workspace):
        if str(card.get("dataset", {}).get("id")) != dataset.id:
            continue
        measured = card["metrics"].get(headline, {}).get("value")
        figure = "" if measured is None else f" · {headline.replace('_', ' ')} {measured:.3f}"
        title = get_family(str(card["family"])).title
        found.append(Trained(str(card["id"]), str(card["family"]), f"{card['name']} · {title}{figure} · {card['id']}"))
    return found


def pick(label: str, field: Mapping[str, Any], default: Any, common: dict[str, Any], models: Sequence[Trained]) -> Any:
    """Draw the choice of one model or several; say so when there is none to choose.

    Args:
        label: What the field is called.
        field: The option's JSON schema. "models" says which fit: "any", "single" (not made of others) or a family;
            "type" is "array" for several.
        default: The option's default, an empty list or text.
        common: Key, help and persistence of the widget.
        models: The models of the dataset.

    Returns:
        A list of ids, or one id ("" for none).
    """
    words = {one.id: one.words for one in models if _fits(one, str(field["models"]))}
    many = field.get("type") == "array"
    held = st.session_state.get(common["key"]) or []
    names: list[str] = held if isinstance(held, list) else [held]
    for name in names:
        words.setdefault(name, f"{name} (not a model of this dataset)")  # from YAML, or chosen for another dataset
    if many:
        empty = "the best ones of this dataset" if words else NOTHING_YET
        return st.multiselect(label, list(words), format_func=words.__getitem__, placeholder=empty, **common) or default
    words = {"": "none" if words else NOTHING_YET, **words}
    return st.selectbox(label, list(words), format_func=words.__getitem__, **common) or default


def _fits(model: Trained, which: str) -> bool:
    if which == "any":
        return True
    return not get_family(model.family).combines if which == "single" else model.family == which
