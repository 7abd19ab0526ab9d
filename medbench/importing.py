"""Files become a dataset: read, judged, split and saved by one call, for the command line and the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medbench import datasets
from medbench.drafting import Draft, draft
from medbench.drafting_images import draft_images
from medbench.errors import MedbenchError
from medbench.splits import SplitPlan
from medbench.tasks import Task, get_task
from medbench.workspace import Workspace

Tell = Callable[[float, str], None]


def bring(
    workspace: Workspace,
    files: Sequence[tuple[Path, str]],
    *,
    task: str,
    name: str = "",
    chosen: Mapping[str, str] | None = None,
    plan: SplitPlan | None = None,
    licence: str = "",
    codes: str = "",
    tell: Tell | None = None,
) -> tuple[str, Draft]:
    """Read files into a dataset.

    Args:
        workspace: Where it goes.
        files: (path, what the user calls it) of texts, or of pictures with their tables.
        task: literature, icd or lesion.
        name: Of the dataset; the first file's name when empty.
        chosen: Role -> column fixed by the user; the rest is guessed.
        plan: How it is split; 70/15/15, stratified, when None.
        licence: Licence or terms of the data.
        codes: Version of bare ICD codes; found out when empty.
        tell: Told (share done 0-1, sentence).

    Returns:
        The dataset's id, and what was read with the account of every record.

    Raises:
        MedbenchError: No such task, nothing usable in the files, or a split that cannot be made.
    """
    job = get_task(task)
    workspace.datasets.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=workspace.datasets, prefix=".import-") as keep:
        found = _drafted(job, files, dict(chosen or {}), Path(keep), codes, tell)
        name = name or files[0][1].split(".")[0]
        return datasets.save(workspace, found, name=name, plan=plan, licence=licence), found


def _drafted(
    job: Task, files: Sequence[tuple[Path, str]], chosen: dict[str, str], keep: Path, codes: str, say: Tell | None
) -> Draft:
    about: dict[str, Any] = {"task_name": job.name, "clean_label": job.clean_label, "label_name": job.label_name}
    if job.item == "image":
        return draft_images(files, **about, columns=chosen, say=say, keep=keep)
    return draft(files, **about, rules=job.rules(codes), columns=chosen or None, say=say)


def shares_of(text: str) -> tuple[float, float, float]:
    """Return train, validation and test shares written in percent, "70/15/15". Raises MedbenchError for others."""
    parts = text.replace("%", "").split("/")
    try:
        train, validation, test = (float(part) / 100 for part in parts)
    except ValueError:
        raise MedbenchError(
            "three shares like 70/15/15", repr(text), "Write train/validation/test in percent."
        ) from None
    return train, validation, test
