"""Folders and zips of pictures through one model: answered into a table, or judged against their own labels."""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medbench import aliases, job_answers, predicting, shadowing, trust_figures
from medbench.datasets import picture_items
from medbench.drafting_images import draft_images
from medbench.errors import MedbenchError
from medbench.evaluating import Evaluation, judge_rows
from medbench.history import PictureMark, picture_mark
from medbench.job_answers import Turn
from medbench.mapping import Row
from medbench.partial_folders import folder_beside
from medbench.picture_facts import fact_columns, facts_of
from medbench.picture_layouts import Layout, PictureRow, lay_out
from medbench.picture_sources import Sources, open_sources
from medbench.pictures import ENDINGS, FOREIGN, open_picture, stored_size
from medbench.predicting import Loaded
from medbench.readers import Account
from medbench.records import Item, Prediction, join_image
from medbench.tasks import get_task
from medbench.workspace import Workspace, file_mark, read_json, replacing, write_json

CHUNK = 64
FORMATS = (".csv", ".json", ".jsonl")
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Answered:
    """How pictures were answered.

    Attributes:
        answered: How many were.
        refused: The name and reason of each that was not.
        resumed: How many an earlier call had answered.
        stands: What stands behind the answers, one sentence each.
    """

    answered: int
    refused: tuple[tuple[str, str], ...]
    resumed: int = 0
    stands: tuple[str, ...] = ()


def is_pictures(workspace: Workspace, model_id: str, path: Path) -> bool:
    """Return whether pictures are meant: a folder, a zip or a picture, or whatever is given to a model of pictures."""
    card = workspace.model(aliases.resolve(workspace, model_id)) / "model.json"
    if card.exists() and read_json(card).get("item") == "image":
        return True
    return path.is_dir() or path.suffix.lower() in (".zip", *ENDINGS, *FOREIGN)


def predict_pictures(
    workspace: Workspace,
    model_id: str,
    path: Path,
    out: Path,
    tell: Tell | None = None,
    unseen: Callable[[str], None] | None = None,
    chunk: int = CHUNK,
) -> Answered:
    """Answer for every picture of a zip or folder and write a table, one row per picture, unreadable ones included.

    Answers are kept in `<out>.partial/`, a chunk of pictures at a time, until `out` is written, so that a second call
    after a kill goes on where the first one stopped; they go into the history, too.

    Args:
        workspace: Where models and the history lie.
        model_id: A model for pictures, or `@job`: one of its models answers all of them, and once the table is
            written, its challenger in the shadow answers what this call has asked.
        path: A zip, a folder or one picture; a metadata table in it gives age, sex and site.
        out: Where the answers go: .csv, .json or .jsonl.
        tell: Told (pictures done, pictures in all).
        unseen: Told `@job` when the table is written and the challenger begins.
        chunk: Pictures answered at a time, a count; what a kill costs at most.

    Raises:
        MedbenchError: The model is not for pictures, the ending is another, there is no picture, or another process is
            writing `out`.
    """
    _for_pictures(workspace, model_id)  # says what is wrong before anything is read
    if out.suffix.lower() not in FORMATS:
        raise MedbenchError(f"an output file that ends in {', '.join(FORMATS)}", repr(out.name), "Name it answers.csv.")
    with (
        folder_beside(out, path) as folder,
        tempfile.TemporaryDirectory() as work,
        open_sources([(path, path.name)], Path(work)) as sources,
    ):
        _leave_out(sources, (out.absolute(), folder.absolute()))
        turn = job_answers.turn(workspace, model_id, [_mark(sources)])
        asked = _Asked(workspace, turn, _for_pictures(workspace, turn.model), sources, Path(work), chunk)
        _take_up(folder, asked.mark())
        rows, resumed = asked.answered(folder, tell)
        with replacing(out) as temporary:
            _write(temporary, out.suffix.lower(), rows)
        if unseen is not None and asked.unseen:
            unseen(turn.alias)
        asked.answer_unseen()
    return _told(asked.loaded, rows, resumed)


def _told(loaded: Loaded, rows: Sequence[dict[str, Any]], resumed: int) -> Answered:
    refused = tuple((str(row["image"]), str(row["problem"])) for row in rows if row["problem"])
    return Answered(len(rows) - len(refused), refused, resumed, _stands(loaded, rows, len(rows) - len(refused)))


def _stands(loaded: Loaded, rows: Sequence[Mapping[str, Any]], n: int) -> tuple[str, ...]:
    """Return what stands behind n answers, one sentence each; nothing without one."""
    if not n:
        return ()
    alone = sum(not row["needs_human"] for row in rows)
    about = trust_figures.beside_a_file(loaded.trust.band, loaded.card, alone, n)
    learnt = sum(bool(row.get("seen_in_training")) for row in rows)
    return (*about, *trust_figures.learnt_from(learnt, n, n, "pictures"), *loaded.behind)


def _leave_out(sources: Sources, ours: tuple[Path, ...]) -> None:
    """Forget what an earlier call has left among the pictures: its answers are no table of facts."""

    def own(path: Path) -> bool:
        return any(path.absolute().is_relative_to(place) for place in ours)

    sources.pictures[:] = [picture for picture in sources.pictures if picture.member or not own(picture.place)]
    sources.tables[:] = [(name, path) for name, path in sources.tables if not own(path)]


def _take_up(folder: Path, mark: str) -> None:
    """Make the folder ready: chunks of other pictures or another model go, and one torn by a power cut as well."""
    known, chunks = folder / "batch.json", sorted(folder.glob("[0-9]*.npz"))
    same = known.exists() and read_json(known).get("mark") == mark
    for chunk in chunks:
        if not same or not zipfile.is_zipfile(chunk):
            chunk.unlink()
    if not same:
        write_json(known, {"mark": mark})


def _stored(place: Path) -> list[dict[str, Any]]:
    with np.load(place, allow_pickle=False) as stored:
        return [json.loads(row) for row in stored["rows"].tolist()]


def _for_pictures(workspace: Workspace, model_id: str) -> Loaded:
    return predicting.load_for(workspace, model_id, "image")


@dataclass(frozen=True)
class _Asked:
    """Pictures on their way through a model: cut into chunks, answered, each chunk stored and told to the history."""

    workspace: Workspace
    turn: Turn
    loaded: Loaded
    sources: Sources
    work: Path
    chunk: int
    unseen: list[tuple[Sequence[PictureRow], list[str]]] = field(default_factory=list)

    @cached_property
    def _layout(self) -> Layout:
        return lay_out(self.sources, get_task(str(self.loaded.card["task"])).clean_label, None)

    def mark(self) -> str:
        """Return a digest of the model, the pictures and their tables: what makes a chunk reusable."""
        changed = (self.loaded.folder / "model.json").stat().st_mtime_ns
        return hashlib.sha256(f"{self.loaded.id}\n{changed}\n{self.chunk}\n{_mark(self.sources)}".encode()).hexdigest()[
            :16
        ]

    def chunks(self) -> Iterator[Sequence[PictureRow]]:
        """Yield the pictures in their order, `chunk` at a time."""
        rows = self._layout.rows
        for at in range(0, len(rows), self.chunk):
            yield rows[at : at + self.chunk]

    def answered(self, folder: Path, tell: Tell | None) -> tuple[list[dict[str, Any]], int]:
        """Answer what has no answer in the folder yet; return all rows, and how many pictures had one."""
        rows: list[dict[str, Any]] = []
        resumed = 0
        for number, part in enumerate(self.chunks()):
            place = folder / f"{number:05d}.npz"
            if place.exists():
                resumed += len(part)
            else:
                self.answer(part, place)
            rows += _stored(place)
            if tell is not None:
                tell(len(rows), len(self.sources.pictures))
        return rows, resumed

    def answer(self, part: Sequence[PictureRow], place: Path) -> None:
        """Answer for some pictures, store their rows, and tell the history, which a kill in between does not reach."""
        items, marks, problems = self._opened(part)
        given = predicting.predict(self.loaded, items)
        seen = predicting.seen_in_training(self.loaded, items)
        left = iter(zip(given, seen.tolist(), strict=True))
        rows = [
            _flat(self.loaded, _unread(row.picture.path, self.loaded.id, problems[number]))
            if number in problems
            else _flat(self.loaded, *next(left))
            for number, row in enumerate(part)
        ]
        with replacing(place) as temporary, temporary.open("wb") as file:
            np.savez(file, rows=np.array([json.dumps(row) for row in rows], dtype=np.str_))
        ids = job_answers.record(self.workspace, self.turn, items, given, marks)
        if shadowing.seen(self.turn.job):
            self.unseen.append(([row for number, row in enumerate(part) if number not in problems], ids))

    def answer_unseen(self) -> None:
        """Let the challenger in the shadow answer what has been answered; the pictures are read again for it."""
        job = self.turn.job
        if job is None:
            return
        for part, ids in self.unseen:
            items, _, problems = self._opened(part)
            kept = [name for number, name in enumerate(ids) if number not in problems]
            for _ in shadowing.parts(self.workspace, job, shadowing.seen(job), kept, items, "image"):
                pass

    def _opened(self, part: Sequence[PictureRow]) -> tuple[list[Item], list[PictureMark], dict[int, str]]:
        """Return items and marks of the pictures that can be read, and position -> problem of the others."""
        columns = fact_columns(dict.fromkeys(name for row in self._layout.rows for name in row.extra))
        problems: dict[int, str] = {}
        items: list[Item] = []
        marks: list[PictureMark] = []
        for number, row in enumerate(part):
            kept = self.work / f"{number}.png"
            try:
                content = self.sources.read(row.picture)
                opened = open_picture(content, row.picture.path)
            except MedbenchError as error:
                problems[number] = f"Expected {error.expected}, found {error.found}."
                continue
            opened.save(kept, compress_level=1)
            items.append(Item(row.picture.path, "", join_image(str(kept), facts_of(row.extra, columns))))
            marks.append(picture_mark(content, stored_size(content)))
        return items, marks, problems


def _mark(sources: Sources) -> str:
    """Return a digest of pictures and their tables."""
    known: list[object] = [file_mark(place) for place, kind in sources.uploads.values() if kind == "zip"]
    known += [file_mark(place) for _, place in sources.tables]
    for picture in sources.pictures:
        facts = picture.place.stat()
        known.append((picture.path, None if picture.member else (facts.st_size, facts.st_mtime_ns)))
    return hashlib.sha256(repr(known).encode()).hexdigest()


def _unread(name: str, model: str, problem: str) -> Prediction:
    return Prediction(name, model, (), needs_human=True, doubt=1.0, problem=problem)


def _flat(loaded: Loaded, given: Prediction, seen: bool = False) -> dict[str, Any]:
    chosen = given.chosen[0] if given.chosen else ""
    by_label = {score.label: score.probability for score in given.labels}
    return {
        "image": given.id,
        "label": chosen,
        "label_name": loaded.name_of(chosen) if chosen else "",
        **{f"p_{label}": by_label.get(label, "") for label in loaded.labels},
        "set": ";".join(given.conformal),
        "set_coverage": given.coverage if given.coverage is not None else "",
        "set_measured": trust_figures.set_cell(loaded.card, given.conformal),
        "needs_human": given.needs_human,
        "unlike_training": given.unlike,
        "seen_in_training": seen,
        "promise": loaded.row_words(not given.needs_human, given.unlike),
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
