"""Datasets and the trees of their labels over HTTP: listed, described, brought; a tree read, set and taken away."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from medbench import datasets, importing, label_trees
from medbench.api_guard import RefusedError
from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.splits import SplitPlan
from medbench.workspace import Workspace

_LISTED = ("id", "name", "task", "item", "answer", "n_rows", "splits", "created")
_NAME_LIMIT = 120  # characters of a file's name that are kept


def listed(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the datasets in short, newest first."""
    return [
        {**{name: card.get(name) for name in _LISTED}, "n_labels": len(card.get("labels", ()))}
        for card in datasets.list_datasets(workspace)
    ]


def described(workspace: Workspace, dataset_id: str) -> dict[str, Any]:
    """Return a dataset's card with what is known of its tree. Raises RefusedError when there is none."""
    found = _of(workspace, dataset_id)
    tree = found.hierarchy
    return {**found.card, "tree": None if tree is None else tree.facts()}


def brought(
    workspace: Workspace,
    files: Sequence[tuple[str, BinaryIO]],
    *,
    task: str,
    name: str,
    chosen: Mapping[str, str],
    shares: str,
    own_split: bool,
    seed: int,
    licence: str,
) -> dict[str, Any]:
    """Read uploaded files into a dataset; return its card and the account of every file.

    Raises:
        MedbenchError: No such task, nothing usable in the files, or a split that cannot be made.
    """
    plan = SplitPlan("file" if own_split else "stratified", importing.shares_of(shares), seed)
    with tempfile.TemporaryDirectory(prefix="medbench-") as folder:
        placed = []
        for number, (called, data) in enumerate(files):
            path = Path(folder) / f"{number:05d}"
            with path.open("wb") as out:
                shutil.copyfileobj(data, out, 1 << 20)
            placed.append((path, PurePosixPath(called.replace("\\", "/")).name[-_NAME_LIMIT:] or "upload"))
        dataset_id, draft = importing.bring(
            workspace, placed, task=task, name=name, chosen=chosen, plan=plan, licence=licence
        )
    account = {
        file: {"read": one.read, "repaired": one.repaired, "refused": one.refused}
        for file, one in draft.account.items()
    }
    return {**described(workspace, dataset_id), "account": account}


def tree_of(workspace: Workspace, dataset_id: str) -> dict[str, Any]:
    """Return the tree of a dataset's labels: its facts and label -> what stands right above it; empty without one."""
    tree = _of(workspace, dataset_id).hierarchy
    return {} if tree is None else {**tree.facts(), "parents": dict(tree.parents)}


def set_tree(
    workspace: Workspace, dataset_id: str, text: str, parents: Mapping[str, str] | None, ready: bool, leave_out: bool
) -> dict[str, Any]:
    """Set the tree of a dataset's labels, in place of an earlier one; return it, with notes on what was left out.

    Args:
        workspace: Where the dataset lies.
        dataset_id: The dataset.
        text: The tree as CSV, JSON, YAML or indented text.
        parents: Or label or group -> what stands right above it.
        ready: Or the task's own tree.
        leave_out: Leave out names that are no labels of the dataset instead of refusing them.

    Raises:
        MedbenchError: Not exactly one of the three is given, or it is no tree over these labels.
    """
    if sum((bool(text), parents is not None, ready)) != 1:
        raise RefusedError(422, "one of text, parents and ready", "none or several", "Send exactly one.")
    found = _of(workspace, dataset_id)
    if ready:
        tree = label_trees.ready(found)
    else:
        written = text if parents is None else json.dumps(dict(parents))
        tree = label_trees.from_text(found, written, leave_out=leave_out)
    label_trees.keep(workspace, found.id, tree)
    return {**tree_of(workspace, found.id), "notes": list(tree.notes)}


def remove_tree(workspace: Workspace, dataset_id: str) -> dict[str, Any]:
    """Take the tree away; models that were trained with it keep theirs."""
    label_trees.take_away(workspace, _of(workspace, dataset_id).id)
    return {}


def _of(workspace: Workspace, dataset_id: str) -> Dataset:
    try:
        return datasets.load(workspace, dataset_id)
    except MedbenchError as error:
        raise RefusedError(404, error.expected, error.found, error.todo) from None
