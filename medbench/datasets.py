"""Datasets on disk: one folder each, written once, named after their content.

`data/datasets/<id>/` holds
    rows.parquet     every row, in order (columns as in `drafting.Draft.frame`; "split" is the split that was given)
    images/          the pictures, in a dataset of pictures ("image" in the rows is the path from this folder)
    findings.json    the verdict with the positions of its rows
    dataset.json     the card; written last, so a folder without it is not a dataset
    baseline.json    the number to beat, kept by `preflight.baseline` once somebody asked for it
    hierarchy.json   the tree of its labels, when it has one (`hierarchy.save`); runs copy it
All but the last two are written by `save` alone and never changed.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench import __version__, hierarchy, splits
from medbench.dataset_rows import GROUP_ROWS, as_frame, digest_of, rows_with_ids, truth_of, write_rows
from medbench.drafting import Draft, Preview, draft, preview
from medbench.errors import MedbenchError
from medbench.hierarchy import Hierarchy
from medbench.leaks import torn_groups
from medbench.marking import marks_from
from medbench.picture_facts import fact_columns, facts_of
from medbench.records import (
    SPLITS,
    AnswerKind,
    ColumnMap,
    Examples,
    Finding,
    ItemKind,
    SplitName,
    join_image,
    join_text,
)
from medbench.splits import SplitPlan
from medbench.workspace import Workspace, read_cards, read_json, undamaged, write_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Dataset",
    "Draft",
    "Preview",
    "SplitPlan",
    "delete",
    "draft",
    "list_datasets",
    "load",
    "preview",
    "save",
    "truth_of",
]

VERSION = 1
_USED_SHOWN = 5
_NEEDED = ("id", "name", "created", "labels", "splits", "n_rows")
_ID = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{10}")


@dataclass
class Dataset:
    """A saved dataset. Rows are read when they are asked for, not before.

    Attributes:
        folder: Where it lies.
        card: What dataset.json says.
    """

    folder: Path
    card: dict[str, Any]

    @property
    def id(self) -> str:
        """Id, to be cited."""
        return str(self.card["id"])

    @property
    def name(self) -> str:
        """Name the user gave."""
        return str(self.card["name"])

    @property
    def task(self) -> str:
        """Task name."""
        return str(self.card["task"])

    @property
    def item(self) -> ItemKind:
        """What is classified."""
        return "image" if self.card["item"] == "image" else "text"

    @property
    def answer(self) -> AnswerKind:
        """Whether an item has "one" label or "many"."""
        return "many" if self.card["answer"] == "many" else "one"

    @property
    def labels(self) -> tuple[str, ...]:
        """Label codes in column order."""
        return tuple(self.card["labels"])

    @property
    def label_names(self) -> dict[str, str]:
        """Label code -> what the user reads."""
        return dict(self.card["label_names"])

    @property
    def hierarchy(self) -> Hierarchy | None:
        """The tree of its labels as it is now, None when it has none."""
        return hierarchy.load(self.folder)

    @property
    def counts(self) -> dict[str, int]:
        """Labelled rows per split."""
        return dict(self.card["splits"])

    @property
    def profile(self) -> dict[str, Any]:
        """Class counts, length percentiles in words, missing fields; as computed at save."""
        return dict(self.card["profile"])

    @property
    def mapping(self) -> ColumnMap:
        """The column map of the first file, for reading new files of the same shape."""
        stored = next(iter(self.card["mapping"].values()))
        return ColumnMap(**{**stored, "labels": tuple(stored["labels"])})

    @cached_property
    def findings(self) -> list[Finding]:
        """The verdict as computed at save, rows included."""
        stored = read_json(self.folder / "findings.json")["findings"]
        return [Finding(**{**entry, "rows": tuple(entry["rows"])}) for entry in stored]

    def __len__(self) -> int:
        """Return the number of rows, unlabelled ones included."""
        return int(self.card["n_rows"])

    @cached_property
    def _frame(self) -> pd.DataFrame:
        import pyarrow.parquet as parquet

        with undamaged(self.folder, "dataset"):
            return as_frame(parquet.read_table(self._parquet))

    @property
    def _parquet(self) -> Path:
        path = self.folder / "rows.parquet"
        if not path.exists():
            raise MedbenchError(f"rows.parquet in {self.folder.name}", "no such file", "Import the dataset again.")
        return path

    def frame(self) -> pd.DataFrame:
        """Return all rows as object columns; read once and kept. Treat it as read-only."""
        return self._frame

    def rows(self, positions: Iterable[int]) -> list[dict[str, Any]]:
        """Return rows by position, in order, from the pieces that hold them. Raises MedbenchError past the end."""
        import pyarrow.parquet as parquet

        wanted = [int(position) for position in positions]
        outside = [position for position in wanted if not 0 <= position < len(self)]
        if outside:
            raise MedbenchError(f"a row position below {len(self):,}", str(outside[0]), "Ask for rows that exist.")
        found: dict[int, dict[str, Any]] = {}
        with undamaged(self.folder, "dataset"), parquet.ParquetFile(self._parquet) as file:
            for piece in sorted({position // GROUP_ROWS for position in wanted}):
                inside = sorted({position for position in wanted if position // GROUP_ROWS == piece})
                table = file.read_row_group(piece).take([position % GROUP_ROWS for position in inside])
                found.update(zip(inside, table.to_pylist(), strict=True))
        return [{"position": position, **found[position]} for position in wanted]

    def with_ids(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows that carry one of these ids, in file order."""
        with undamaged(self.folder, "dataset"):
            return rows_with_ids(self._parquet, ids)

    def page(self, start: int, count: int) -> list[dict[str, Any]]:
        """Return `count` rows from position `start` on; fewer at the end."""
        return self.rows(range(max(start, 0), min(max(start, 0) + count, len(self))))

    def positions(self, *names: SplitName) -> npt.NDArray[np.int64]:
        """Return positions of the labelled rows in these splits (all splits when none is named), ascending."""
        return np.flatnonzero(self._split_column("split", names)).astype(np.int64)

    def _split_column(self, column: str, names: Sequence[SplitName]) -> npt.NDArray[np.bool_]:
        return np.asarray(self._frame[column].isin(list(names or SPLITS)).to_numpy(), dtype=bool)

    def examples(self, *names: SplitName) -> Examples:
        """Return the labelled rows of these splits (all when none is named) as examples; order as in `positions`.

        With a tree of labels, a label is true wherever one below it is.
        """
        frame = self._frame.iloc[self.positions(*names)]
        if self.item == "image":
            items = picture_items(frame, self.folder.absolute() / "images")
        else:
            items = [join_text(title, text) for title, text in zip(frame["title"], frame["text"], strict=True)]
        truth, tree = truth_of(frame["labels"], self.labels), self.hierarchy
        truth = truth if tree is None else tree.closed(truth)
        marks = tuple(map(marks_from, frame["marks"])) if "marks" in frame else ()
        return Examples(items, truth, self.labels, self.answer, tuple(frame["cluster"]), marks)


def picture_items(frame: pd.DataFrame, folder: Path) -> list[str]:
    """Return an item (`join_image`) for each row: where its picture lies, and age, sex and site where known."""
    columns = fact_columns(map(str, frame.columns))
    told = {column: frame[column].tolist() for column in columns.values()}
    return [
        join_image(str(folder / Path(path).name), facts_of({name: cells[row] for name, cells in told.items()}, columns))
        for row, path in enumerate(frame["image"])
    ]


def save(workspace: Workspace, draft: Draft, *, name: str, plan: SplitPlan | None = None, licence: str = "") -> str:
    """Split the draft and keep it; the same rows, splits and name give the same id and are kept once.

    Args:
        workspace: Where.
        draft: The draft; it is not changed.
        name: What the user calls it.
        plan: How to split; stratified 70/15/15 when None. Unlabelled rows belong to no split.
        licence: Licence or terms of the data in the user's words; kept with every model that learns from it.

    Returns:
        The dataset's id.

    Raises:
        MedbenchError: The name is empty, or the plan does not fit the file.
    """
    if not name.strip():
        raise MedbenchError("a name for the dataset", "an empty one", "Type a short name.")
    plan = plan or SplitPlan()
    frame = draft.frame.assign(split=_split(draft, plan))
    dataset_id = f"{_slug(name)}-{digest_of(frame, draft)[:10]}"
    folder = workspace.dataset(dataset_id)
    if (folder / "dataset.json").exists():
        return dataset_id
    workspace.datasets.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=workspace.datasets, prefix=f".{dataset_id}."))
    try:
        write_rows(building / "rows.parquet", frame)
        if draft.pictures is not None:
            shutil.copytree(draft.pictures, building / "images")
        if plan.part_groups:
            draft = replace(draft, findings=[*torn_groups(frame), *draft.findings])
        write_json(
            building / "findings.json", {"version": VERSION, "findings": [asdict(one) for one in draft.findings]}
        )
        write_json(building / "dataset.json", _card(draft, frame, plan, name.strip(), dataset_id, licence))
        building.chmod(0o755)
        _move(building, folder)
    finally:
        if building.exists():
            shutil.rmtree(building)
    return dataset_id


def _move(building: Path, folder: Path) -> None:
    """Rename the finished folder into place; when another process was faster with the same content, keep theirs."""
    if folder.exists() and not (folder / "dataset.json").exists():
        shutil.rmtree(folder)
    try:
        building.rename(folder)
    except OSError:
        if not (folder / "dataset.json").exists():
            raise


def _split(draft: Draft, plan: SplitPlan) -> list[str]:
    frame = draft.frame
    labelled = np.flatnonzero(frame["labelled"].to_numpy())
    own = [str(word) for word in frame["split"].iloc[labelled]] if draft.has_own_split else None
    truth = truth_of(frame["labels"].iloc[labelled], draft.labels)
    given: list[str] = [""] * len(frame)
    if len(labelled):
        names = splits.assign(truth, list(frame["cluster"].iloc[labelled]), plan, own)
        for row, split in zip(labelled.tolist(), names, strict=True):
            given[row] = split
    return given


def _slug(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:40].strip("-") or "dataset"


def _card(
    draft: Draft, frame: pd.DataFrame, plan: SplitPlan, name: str, dataset_id: str, licence: str
) -> dict[str, Any]:
    per_split = frame["split"].value_counts()
    return {
        "version": VERSION,
        "id": dataset_id,
        "name": name,
        "licence": licence.strip(),
        "task": draft.task,
        "item": draft.item,
        "answer": draft.answer,
        "labels": list(draft.labels),
        "label_names": draft.label_names,
        "n_rows": len(frame),
        "n_labelled": int(frame["labelled"].sum()),
        "splits": {split: int(per_split.get(split, 0)) for split in SPLITS},
        "seed": plan.seed,
        "split": {
            "method": plan.method,
            "shares": list(plan.shares),
            **({"part_groups": True} if plan.part_groups else {}),
        },
        "mapping": {file: asdict(used) for file, used in draft.mappings.items()},
        "sources": draft.sources,
        "cleaning": draft.cleaning,
        "findings": [{**asdict(replace(one, rows=())), "detail": {}} for one in draft.findings],
        "profile": draft.profile,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "medbench": __version__,
    }


def load(workspace: Workspace, id_or_name: str) -> Dataset:
    """Return a dataset by its id, else the newest that has this name.

    Raises:
        MedbenchError: There is none.
    """
    wanted = id_or_name.strip()
    if _ID.fullmatch(wanted) and (workspace.datasets / wanted / "dataset.json").exists():
        return Dataset(workspace.dataset(wanted), read_json(workspace.dataset(wanted) / "dataset.json"))
    cards = list_datasets(workspace)
    found = next((card for card in cards if card["name"] == wanted), None)
    if found is None:
        known = ", ".join(str(card["id"]) for card in cards[:20])
        raise MedbenchError(
            "the id or name of a dataset",
            repr(wanted),
            f"Choose one of these: {known}." if known else "Import a dataset first.",
        )
    return Dataset(workspace.dataset(str(found["id"])), found)


def list_datasets(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the cards of all complete datasets, newest first. Reads no rows."""
    if not workspace.datasets.is_dir():
        return []
    paths = [path for path in workspace.datasets.glob("*/dataset.json") if not path.parent.name.startswith(".")]
    return sorted(read_cards(paths, _NEEDED), key=lambda card: (card["created"], card["id"]), reverse=True)


def delete(workspace: Workspace, dataset_id: str) -> None:
    """Delete a dataset.

    Raises:
        MedbenchError: There is none, or runs or reviews use it (they are named).
    """
    folder = load(workspace, dataset_id).folder
    for what, users in (("run", used_by(workspace, folder.name)), ("review", _read_by(workspace, folder.name))):
        if users:
            more = f" and {len(users) - _USED_SHOWN} more" if len(users) > _USED_SHOWN else ""
            raise MedbenchError(
                f"a dataset that no {what} uses, to delete {folder.name!r}",
                f"{len(users)} {what}{'s' if len(users) > 1 else ''} ({', '.join(users[:_USED_SHOWN])}{more})",
                f"Delete {f'those {what}s' if len(users) > 1 else f'that {what}'} first.",
            )
    # The card goes first: a folder that is half deleted is no dataset any more.
    (folder / "dataset.json").unlink()
    shutil.rmtree(folder)


def used_by(workspace: Workspace, dataset_id: str) -> list[str]:
    """Return the ids of the runs whose run.yaml names this dataset, sorted."""
    import yaml

    found = []
    card = load(workspace, dataset_id).card
    for path in sorted(workspace.runs.glob("*/run.yaml")):
        with undamaged(path.parent, "run", yaml.YAMLError):
            spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(spec, dict) and spec.get("dataset") in (card["id"], card["name"]):
            found.append(path.parent.name)
    return found


def _read_by(workspace: Workspace, dataset_id: str) -> list[str]:
    cards = read_cards(sorted(workspace.reviews.glob("*/review.json")), ("id", "dataset"))
    return [str(card["id"]) for card in cards if card["dataset"] == dataset_id]
