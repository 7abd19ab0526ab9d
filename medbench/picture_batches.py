"""Folders and zips of pictures through one model: answered into a table, or judged against their own labels."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medbench import predicting
from medbench.datasets import picture_items
from medbench.drafting_images import draft_images
from medbench.errors import MedbenchError
from medbench.evaluating import Evaluation, judge_rows
from medbench.mapping import Row
from medbench.picture_facts import fact_columns, facts_of
from medbench.picture_layouts import lay_out
from medbench.picture_sources import Sources, open_sources
from medbench.pictures import ENDINGS, open_picture
from medbench.predicting import Loaded
from medbench.readers import Account
from medbench.records import Item, Prediction, join_image
from medbench.tasks import get_task
from medbench.workspace import Workspace, replacing

CHUNK = 64
FORMATS = (".csv", ".json", ".jsonl")
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Answered:
    """How many pictures were answered, and the name and reason of each that was not."""

    answered: int
    refused: tuple[tuple[str, str], ...]


def is_pictures(path: Path) -> bool:
    """Return whether a path is something that pictures come in: a folder, a zip or a picture."""
    return path.is_dir() or path.suffix.lower() in (".zip", *ENDINGS)


def predict_pictures(workspace: Workspace, model_id: str, path: Path, out: Path, tell: Tell | None = None) -> Answered:
    """Answer for every picture of a zip or folder and write a table, one row per picture, unreadable ones included.

    Args:
        workspace: Where models lie.
        model_id: A model for pictures.
        path: A zip, a folder or one picture; a metadata table in it gives age, sex and site.
        out: Where the answers go: .csv, .json or .jsonl.
        tell: Told (pictures done, pictures in all).

    Raises:
        MedbenchError: The model is not for pictures, the ending is another, or there is no picture.
    """
    loaded = _for_pictures(workspace, model_id)
    if out.suffix.lower() not in FORMATS:
        raise MedbenchError(f"an output file that ends in {', '.join(FORMATS)}", repr(out.name), "Name it answers.csv.")
    rows: list[dict[str, Any]] = []
    refused: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as work, open_sources([(path, path.name)], Path(work)) as sources:
        total = len(sources.pictures)
        for found in _answers(loaded, sources, Path(work)):
            for name, given in found:
                rows.append(_flat(loaded, name, given))
                if given.problem:
                    refused.append((name, given.problem))
            if tell is not None:
                tell(len(rows), total)
    with replacing(out) as temporary:
        _write(temporary, out.suffix.lower(), rows)
    return Answered(len(rows) - len(refused), tuple(refused))


def _for_pictures(workspace: Workspace, model_id: str) -> Loaded:
    return predicting.load_for(workspace, model_id, "image")


def _answers(loaded: Loaded, sources: Sources, work: Path) -> Iterator[list[tuple[str, Prediction]]]:
    task = get_task(str(loaded.card["task"]))
    layout = lay_out(sources, task.clean_label, None)
    columns = fact_columns(dict.fromkeys(name for row in layout.rows for name in row.extra))
    for at in range(0, len(layout.rows), CHUNK):
        names: list[str] = []
        items: list[Item | None] = []
        problems: list[str] = []
        for number, row in enumerate(layout.rows[at : at + CHUNK]):
            names.append(row.picture.path)
            path = work / f"{number}.png"
            try:
                open_picture(sources.read(row.picture), row.picture.path).save(path, compress_level=1)
            except MedbenchError as error:
                items.append(None)
                problems.append(f"Expected {error.expected}, found {error.found}.")
                continue
            items.append(Item(row.picture.path, "", join_image(str(path), facts_of(row.extra, columns))))
            problems.append("")
        given = iter(predicting.predict(loaded, [item for item in items if item is not None]))
        yield [
            (name, next(given) if item is not None else _unread(name, loaded.id, problem))
            for name, item, problem in zip(names, items, problems, strict=True)
        ]


def _unread(name: str, model: str, problem: str) -> Prediction:
    return Prediction(name, model, (), needs_human=True, doubt=1.0, problem=problem)


def _flat(loaded: Loaded, name: str, given: Prediction) -> dict[str, Any]:
    chosen = given.chosen[0] if given.chosen else ""
    by_label = {score.label: score.probability for score in given.labels}
    return {
        "image": name,
        "label": chosen,
        "label_name": loaded.name_of(chosen) if chosen else "",
        **{f"p_{label}": by_label.get(label, "") for label in loaded.labels},
        "set": ";".join(given.conformal),
        "set_coverage": given.coverage if given.coverage is not None else "",
        "needs_human": given.needs_human,
        "unlike_training": given.unlike,
        "model": given.model,
        "problem": given.problem or "",
    }


def _write(path: Path, ending: str, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        if ending == ".csv":
            writer = csv.DictWriter(file, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows({key: _neutral(value) for key, value in row.items()} for row in rows)
        elif ending == ".json":
            json.dump(rows, file, ensure_ascii=False, indent=1)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _neutral(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def evaluate_pictures(
    workspace: Workspace,
    model_id: str,
    path: Path,
    *,
    chosen: dict[str, str] | None = None,
    keep_seen: bool = False,
    n_boot: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score a model on labelled pictures: a zip or folder with their table, or one folder per class.

    Args:
        workspace: Where models lie.
        model_id: A model for pictures.
        path: The zip or folder.
        chosen: Role -> column of the table; the rest is guessed.
        keep_seen: Count pictures that the model learnt from as well (the figures then flatter).
        n_boot: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        MedbenchError: No picture, no label, or none that the model knows.
    """
    loaded = _for_pictures(workspace, model_id)
    task = get_task(str(loaded.card["task"]))
    with tempfile.TemporaryDirectory() as work:
        draft = draft_images(
            [(path, path.name)], task_name=task.name, clean_label=task.clean_label, columns=chosen, keep=Path(work)
        )
        frame = draft.frame
        account = Account()
        for one in draft.account.values():
            account.refused += one.refused
        paths = picture_items(frame, Path(work) / "pictures")
        items = [Item(str(name), "", path) for name, path in zip(frame["id"], paths, strict=True)]
        rows = [
            Row(int(row["line"]), "", "", tuple(row["labels"]), str(row["id"]), str(row["group"]), "")
            for _, row in frame.iterrows()
        ]
        return judge_rows(loaded, path.name, account, rows, items, keep_seen, (n_boot, seed))
