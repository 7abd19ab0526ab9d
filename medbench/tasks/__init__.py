"""The shelf of tasks: what is asked. One file each; the folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import ClassVar

from medbench.errors import MedbenchError
from medbench.labelcells import LabelRules
from medbench.records import AnswerKind, ItemKind


class Task(ABC):
    """A question asked of items.

    Attributes:
        name: Machine name, also the module's name.
        title: What the user reads.
        item: What is classified: "text" or "image".
        answers: The kinds of answer the task allows; the dataset decides which.
        group: What keeps items together in splits, in words ("patient or article").
        metrics: Metric names, the headline first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    item: ClassVar[ItemKind]
    answers: ClassVar[tuple[AnswerKind, ...]]
    group: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]

    @abstractmethod
    def clean_label(self, label: str) -> str:
        """Return a label in its one spelling (white space, case where it carries no meaning)."""

    def cleaner(self, raw: Collection[str], choice: str = "") -> Callable[[str], str]:
        """Return the cleaning of one file's labels; `clean_label` unless a label means more among its neighbours.

        Args:
            raw: The file's labels as they stand there.
            choice: What the user decided about them, in the task's own words; empty to judge by the labels.
        """
        return self.clean_label

    def rules(self, choice: str = "") -> LabelRules:
        """Return what drafting a dataset has to know about the task's labels."""
        return LabelRules(lambda raw: self.cleaner(raw, choice), self.remarks, self.answers)

    def remarks(self, labels: Sequence[str]) -> list[str]:
        """Return what a user should know about a dataset's cleaned labels, one sentence each."""
        return []

    def tree(self, labels: Sequence[str]) -> list[tuple[str, str]]:
        """Return the ready-made tree over a dataset's labels as (node, the node right above it); empty for none.

        `label_name` says what a user reads for its nodes.
        """
        return []

    def label_name(self, label: str) -> str:
        """Return what the user reads for a label; the label itself unless the task knows better."""
        return label


@cache
def all_tasks() -> dict[str, Task]:
    """Return every task in this folder by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}").TASK for name in names}


def get_task(name: str) -> Task:
    """Return the task called `name`. Raises MedbenchError when there is none."""
    try:
        return all_tasks()[name]
    except KeyError:
        raise MedbenchError(f"one of the tasks {', '.join(all_tasks())}", repr(name), "Choose one of these.") from None
