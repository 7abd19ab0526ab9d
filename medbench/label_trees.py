"""The tree of a dataset's labels: set from a file, from text or ready-made, and taken away again.

Runs that start afterwards use it; models that are there already stay as they are, but are compared by it.
"""

from __future__ import annotations

from pathlib import Path

from medbench import datasets, hierarchy, hierarchy_reading
from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.hierarchy import Hierarchy
from medbench.tasks import get_task
from medbench.workspace import Workspace

READY = "ready-made"


def from_file(dataset: Dataset, path: Path, name: str = "", *, leave_out: bool = False) -> Hierarchy:
    """Return the tree in a file, checked against a dataset. Raises MedbenchError as `hierarchy.build` does."""
    pairs = hierarchy_reading.read_file(path, name)
    return _built(dataset, pairs, name or path.name, leave_out)


def from_text(dataset: Dataset, text: str, *, leave_out: bool = False) -> Hierarchy:
    """Return the tree in a text somebody typed, checked against a dataset."""
    return _built(dataset, hierarchy_reading.read_text(text), "typed in", leave_out)


def ready(dataset: Dataset) -> Hierarchy:
    """Return the tree that comes with the dataset's task.

    Raises:
        MedbenchError: The task has none for these labels.
    """
    pairs = get_task(dataset.task).tree(dataset.labels)
    if not pairs:
        raise MedbenchError(
            "a job with a ready-made tree over these labels",
            f"{dataset.task!r} and {', '.join(dataset.labels[:5]) or 'no labels'}",
            "Bring a tree of your own: one line for each label, label,group.",
        )
    return _built(dataset, pairs, READY, leave_out=False)


def has_ready(dataset: Dataset) -> bool:
    """Return whether the dataset's task has a tree for its labels."""
    return bool(get_task(dataset.task).tree(dataset.labels))


def _built(dataset: Dataset, pairs: hierarchy_reading.Pairs, source: str, leave_out: bool) -> Hierarchy:
    if not dataset.labels:
        raise MedbenchError("a dataset with labels", f"{dataset.name!r}, which has none", "Import it with its labels.")
    task = get_task(dataset.task)
    nodes = {node for pair in pairs for node in pair}
    names = {node: task.label_name(node) for node in nodes} if source == READY else {}
    return hierarchy.build(
        dataset.labels,
        dataset.answer,
        pairs,
        names=names,
        label_names=dataset.label_names,
        source=source,
        leave_out=leave_out,
    )


def keep(workspace: Workspace, dataset_id: str, tree: Hierarchy) -> None:
    """Keep a tree with its dataset, in place of an earlier one."""
    hierarchy.save(datasets.load(workspace, dataset_id).folder, tree)


def take_away(workspace: Workspace, dataset_id: str) -> None:
    """Take a dataset's tree away; its models keep theirs."""
    hierarchy.remove(datasets.load(workspace, dataset_id).folder)
