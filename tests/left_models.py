"""Small real models, left in a workspace as a run leaves them, for families that build on earlier models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medbench import trust
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.records import Device, Examples
from medbench.workspace import Workspace, write_json


def leave(
    place: Workspace,
    family: str,
    train: Examples,
    validation: Examples,
    *,
    dataset: str,
    model_id: str = "",
    options: dict[str, Any] | None = None,
    splits: Sequence[str] = ("train",),
    facts: dict[str, Any] | None = None,
) -> str:
    """Fit a model, calibrate it on `validation`, write it with a card; return its id.

    Args:
        place: The workspace.
        family: The family's name.
        train: What it learns from.
        validation: What it is calibrated on.
        dataset: The dataset id that its card names.
        model_id: Its id; the family's name when empty.
        options: The family's options.
        splits: The splits that its card says it learnt from.
        facts: More of the card, or other values.
    """
    method, name = get_family(family), model_id or family
    parsed = method.parse(options or {})
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    model = method.fit(train, validation, parsed, fitting)
    folder = place.models / name
    folder.mkdir(parents=True)
    model.save(folder)
    scores = model.scores(validation.items)
    trust.fit_trust(scores, validation.truth, train.answer, None, None, fitting.rng).save(folder)
    card = {
        "id": name,
        "name": name.capitalize(),
        "family": family,
        "item": "image" if "image" in method.items else "text",
        "answer": train.answer,
        "labels": list(train.labels),
        "dataset": {"id": dataset, "name": dataset},
        "options": parsed.model_dump(mode="json"),
        "seed": 0,
        "learnt_from": {"rows": len(train), "splits": list(splits)},
        "metrics": {},
        "run": name,
        "cost": {"size": 1000, "peak_memory": 1000},
    }
    write_json(folder / "model.json", {**card, **(facts or {})})
    return name
