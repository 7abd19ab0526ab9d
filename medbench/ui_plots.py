"""Pictures of a dataset."""

from __future__ import annotations
from medbench.datasets import Dataset, Draft
from medbench.workspace import Workspace


def draw_saved(workspace: Workspace, dataset: Dataset) -> None:
    """x."""


def draw_draft(draft: Draft, key: str) -> None:
    """x."""
