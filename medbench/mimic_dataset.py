"""A MIMIC database becomes a dataset of the ICD job: note, codes, patient, split."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from medbench import datasets
from medbench.errors import MedbenchError
from medbench.mimic import opened
from medbench.mimic_schema import quoted
from medbench.mimic_verdict import NOTHING_TO_TRAIN
from medbench.readers import Limits
from medbench.records import ColumnMap
from medbench.splits import SplitPlan
from medbench.workspace import Workspace

Kind = Literal["all", "diagnosis", "procedure"]
Revision = Literal["all", "9", "10"]
LICENCE = "PhysioNet Credentialed Health Data License: neither the notes nor a model that holds them may be shared."
# What `labels` looks like for each wish: the version in a label tells kind and revision.
_VERSIONS: dict[str, tuple[Kind, Revision]] = {
    "icd9cm": ("diagnosis", "9"),
    "icd9pcs": ("procedure", "9"),
    "icd10cm": ("diagnosis", "10"),
    "icd10pcs": ("procedure", "10"),
}
_MAP = ColumnMap(None, "text", ("labels",), "hadm_id", "subject_id", "split", "json", None)


@dataclass(frozen=True)
class Wish:
    """Which codes become labels.

    Attributes:
        codes: Diagnoses, procedures or all.
        icd: Codes of ICD-9, of ICD-10 or all: admissions of MIMIC-IV carry the one or the other.
        min_count: A code needs so many admissions (with a note and a split) to become a label.
    """

    codes: Kind = "all"
    icd: Revision = "all"
    min_count: int = 1

    def __post_init__(self) -> None:
        """Raise MedbenchError unless the wish makes sense."""
        if self.codes not in get_args(Kind):
            raise MedbenchError("codes diagnosis, procedure or all", repr(self.codes), "Choose one of these.")
        if self.icd not in get_args(Revision):
            raise MedbenchError("ICD revision 9, 10 or all", repr(self.icd), "Choose one of these.")
        if self.min_count < 1:
            raise MedbenchError("a count of 1 or more", str(self.min_count), "Use 1 to keep every code.")

    @property
    def versions(self) -> list[str]:
        """Code versions that are asked for."""
        return [
            version
            for version, (kind, revision) in _VERSIONS.items()
            if self.codes in ("all", kind) and self.icd in ("all", revision)
        ]


def to_dataset(
    workspace: Workspace,
    database: Path,
    wish: Wish,
    *,
    name: str,
    clean_label: Callable[[str], str],
    label_name: Callable[[str], str] = str,
    say: Callable[[float, str], None] | None = None,
) -> tuple[str, list[str]]:
    """Save the admissions of a database that have a note, a split and codes as a dataset.

    Args:
        workspace: Where.
        database: The file that `mimic.build` returned.
        wish: Which codes become labels.
        name: What the user calls the dataset.
        clean_label: The task's one spelling of a label.
        label_name: The task's name of a label; where it knows none, MIMIC's own dictionary is asked.
        say: Told (share done 0-1, sentence) on the way.

    Returns:
        The dataset's id and what was left out, one sentence each.

    Raises:
        MedbenchError: The database has no notes, or nothing is left.
    """
    tell = say or (lambda share, sentence: None)
    workspace.datasets.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.datasets, prefix=".import-") as keep:
        path = Path(keep) / f"{database.stem}.jsonl"
        tell(0.0, "Reading notes and codes.")
        titles, sentences = _write(database, wish, path)
        size = path.stat().st_size + 1
        draft = datasets.draft(
            [(path, path.name)],
            task_name="icd",
            clean_label=cache(clean_label),  # a million codes, some thousand different ones
            label_name=lambda label: _named(label, label_name, titles),
            mapping=_MAP,
            limits=Limits(max_bytes=size, max_unpacked=size),
            say=lambda share, sentence: tell(0.1 + 0.85 * share, sentence),
        )
        tell(0.97, "Saving.")
        plan = SplitPlan("file", (0.8, 0.1, 0.1))
        dataset_id = datasets.save(workspace, draft, name=name, plan=plan, licence=LICENCE)
    tell(1.0, "Done.")
    return dataset_id, sentences


def _named(label: str, label_name: Callable[[str], str], titles: Mapping[str, str]) -> str:
    known = label_name(label)
    return known if known != label else titles.get(label, label)


def _write(database: Path, wish: Wish, path: Path) -> tuple[dict[str, str], list[str]]:
    """Write one JSON object per admission, ordered by its id; returns label -> title and what was left out."""
    versions = ", ".join(map(quoted, wish.versions))
    with opened(database) as con:
        con.execute(
            f"""CREATE TEMP TABLE often AS SELECT label, count(*) AS n FROM codes JOIN facts USING (hadm_id)
            WHERE split IS NOT NULL AND version IN ({versions}) GROUP BY label"""
        )
        total, without = con.execute("SELECT count(*), count(*) FILTER (split IS NULL) FROM facts").fetchone() or (0, 0)
        if not total:
            raise MedbenchError("a database with discharge notes", NOTHING_TO_TRAIN.split(":")[0].lower(), _FETCH)
        rare = con.execute("SELECT count(*) FROM often WHERE n < ?", [wish.min_count]).fetchone() or (0,)
        kept = {str(row[0]) for row in con.execute("SELECT label FROM often WHERE n >= ?", [wish.min_count]).fetchall()}
        titles = dict(con.execute("SELECT label, title FROM titles WHERE title IS NOT NULL").fetchall())
        rows, bare = 0, 0
        con.execute(
            "SELECT hadm_id, subject_id, split, text, labels FROM facts WHERE split IS NOT NULL ORDER BY hadm_id"
        )
        with path.open("w", encoding="utf-8") as out:
            while piece := con.fetchmany(500):
                for hadm, subject, split, text, labels in piece:
                    chosen = [label for label in labels if label in kept]
                    bare += not chosen
                    rows += bool(chosen)
                    if chosen:
                        keys = {"hadm_id": str(hadm), "subject_id": str(subject), "split": split}
                        out.write(json.dumps({**keys, "text": text, "labels": chosen}, ensure_ascii=False) + "\n")
    if not rows:
        raise MedbenchError(
            "admissions with a note and codes of the kind asked for", "none", "Ask for other codes or a smaller count."
        )
    sentences = [f"{rows:,} admissions with {len(kept):,} different codes."]
    sentences += [f"Admissions in no split: {without:,}."] * bool(without)
    sentences += [f"Codes in fewer than {wish.min_count:,} admissions: {rare[0]:,}."] * bool(rare[0])
    sentences += [f"Admissions with no code left: {bare:,}."] * bool(bare)
    return titles, sentences


_FETCH = "Import a folder with NOTEEVENTS (MIMIC-III) or MIMIC-IV-Note's discharge table."
