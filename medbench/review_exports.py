"""A review's answers on their way out: a table, RIS for a reference manager, a dataset to train on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medbench import datasets
from medbench.errors import MedbenchError
from medbench.readers import get_reader, open_source
from medbench.records import Record
from medbench.review import Review
from medbench.review_decisions import Standing
from medbench.splits import SplitPlan
from medbench.tasks import get_task
from medbench.workspace import Workspace

COLUMNS = ("id", "title", "abstract", "labels", "decision", "readers", "settled_by", "notes", "decided")
NONE = "none"
"""The label of a record that carries none of several labels, in a dataset made of a review."""


def rows_of(held: Review, standing: Standing) -> Iterator[dict[str, str]]:
    """Yield one row (see `COLUMNS`) for each record that anybody decided on, in the order of the first decisions.

    "decision" is include, exclude, unsure, disagreement, or skipped; "labels" are those that hold, "; " between them.
    """
    frame = held.dataset.frame()
    records = [*standing.by_record, *(record for record in standing.settled if record not in standing.by_record)]
    for record in records:
        decisions = standing.by_record.get(record, [])
        settled = standing.settled.get(record)
        acts = [*decisions, *([settled] if settled else [])]
        row = frame.iloc[record]
        yield {
            "id": str(row["id"]),
            "title": str(row["title"]),
            "abstract": str(row["text"]),
            "labels": "; ".join(standing.answers.get(record, ())),
            "decision": _decision(standing, record),
            "readers": "; ".join(one.who for one in decisions),
            "settled_by": settled.who if settled else "",
            "notes": " | ".join(f"{one.who}: {one.note}" for one in acts if one.note),
            "decided": datetime.fromtimestamp(acts[-1].at, UTC).isoformat(timespec="seconds"),
        }


def _decision(standing: Standing, record: int) -> str:
    if record in standing.answers:
        return "include" if standing.answers[record] else "exclude"
    verdicts = {decision.verdict for decision in standing.by_record[record]}
    if "unsure" in verdicts:
        return "unsure"
    return "disagreement" if "read" in verdicts else "skipped"


def as_csv(held: Review) -> bytes:
    """Return the answers as a table: UTF-8 with mark, formulas in text neutralised."""
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, COLUMNS)
    table.writeheader()
    for row in rows_of(held, held.journal.standing()):
        table.writerow({key: f"'{cell}" if cell[:1] in tuple("=+-@\t\r") else cell for key, cell in row.items()})
    return out.getvalue().encode("utf-8-sig", "replace")


def as_ris(held: Review) -> bytes:
    """Return the answers as RIS: labels as key words, the decision and notes as N1 lines."""
    reader = get_reader("ris")
    out = io.BytesIO()
    pairs = []
    for row in rows_of(held, held.journal.standing()):
        flags = "; ".join(part for part in (row["decision"], row["notes"]) if part)
        said = {"medbench_labels": row["labels"].replace("; ", ";"), "medbench_flags": flags}
        pairs.append((_record(row), {key: value for key, value in said.items() if value}))
    with TemporaryDirectory() as folder:
        example = Path(folder) / "empty.ris"
        example.write_text("TY  - JOUR\nTI  - empty\nER  - \n", encoding="utf-8")
        reader.write(pairs, out, open_source(example)[1])
    return out.getvalue()


def _record(row: dict[str, str]) -> Record:
    pairs = [("TY", "JOUR"), ("TI", row["title"]), ("AB", row["abstract"]), ("AN", row["id"])]
    kept = tuple((tag, " ".join(value.split())) for tag, value in pairs if value.strip())
    return Record(1, {tag: (value,) for tag, value in kept}, order=kept)


def as_dataset(workspace: Workspace, held: Review, name: str = "", plan: SplitPlan | None = None) -> str:
    """Keep the answered records as a labelled dataset and return its id.

    With one label, the others carry "not <label>"; with several, records without any carry "none".

    Raises:
        MedbenchError: Fewer than ten records are answered.
    """
    answers = {**held.given, **held.journal.standing().answers}
    if len(answers) < 10:
        raise MedbenchError("at least 10 answered records", str(len(answers)), "Read some more first.")
    frame, labels = held.dataset.frame(), held.plan.labels
    blank = f"not {labels[0]}" if len(labels) == 1 else NONE
    task = get_task("literature")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "review.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "title", "abstract", "labels", "group"])
            for record, given in answers.items():
                row: Any = frame.iloc[record]
                told = "|".join(label.replace("|", "/") for label in given) or blank
                table.writerow([row["id"], row["title"], row["text"], told, row["group"]])
        columns = {"id": "id", "title": "title", "text": "abstract", "labels": "labels"}
        columns |= {"group": "group"} if frame["group"].astype(bool).any() else {}
        draft = datasets.draft([(path, path.name)], task_name=task.name, clean_label=task.clean_label, columns=columns)
        title = name.strip() or f"{held.plan.name}, read"
        return datasets.save(workspace, draft, name=title, plan=plan, licence=str(held.dataset.card.get("licence", "")))
