"""Files being classified in the background of this process: started, watched, stopped, corrected, reopened.

Beside what `batches` keeps, a batch folder `data/batches/<id>/` holds
    00000.history.json   what `batch_history` keeps of that chunk
    stopped              there while the user wants it to wait, whichever server opens it next
and `data/batches/files/<sha256>` holds the bytes of every dropped file, once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from medbench import batch_history, batches, history, job_answers, predicting, shadowing
from medbench.batches import Batch, Tell
from medbench.errors import MedbenchError, full_disk
from medbench.job_answers import Turn
from medbench.predicting import Answers
from medbench.readers import Account, get_reader
from medbench.records import ColumnMap, Item, Prediction
from medbench.workspace import Workspace, checked_id, read_json

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("medbench.batch_jobs")
UNEXPECTED = "The batch met an error medbench did not expect. The details are in the log; what is done is kept."


@dataclass
class Job:
    """One batch and the thread that works on it. All pages and browsers of this process share it.

    Attributes:
        workspace: Where it lies.
        batch: The batch.
        done: Records answered.
        total: Usable records in the file, or None before they were counted.
        sentence: What it does now.
        at: Records that this step is through with.
        of: Records that it has in all, or None while that is unknown.
        problem: Why it ended early, or None.
    """

    workspace: Workspace
    batch: Batch
    done: int = 0
    total: int | None = None
    sentence: str = ""
    at: int = 0
    of: int | None = None
    problem: MedbenchError | str | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _began: float = 0.0  # when the step began, and how many records were behind it then
    _at_first: int = 0
    _table: tuple[int, pd.DataFrame] | None = None
    _table_lock: threading.Lock = field(default_factory=threading.Lock)
    _ids: list[str] = field(default_factory=list)
    _ids_read: int = 0
    _corrections: tuple[str, dict[int, tuple[list[str], str]]] | None = None

    @property
    def id(self) -> str:
        """Name of its folder."""
        return self.batch.folder.name

    @property
    def name(self) -> str:
        """What the user called the file."""
        return self.batch.source.name

    @property
    def running(self) -> bool:
        """True while its thread works."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """True while the step in hand will end by itself: the user has stopped it, or all records are answered."""
        return self._stop.is_set() or (self.total is not None and self.done >= self.total)

    @property
    def stopped(self) -> bool:
        """True when the user ended it, in this process or an earlier one, and it has not gone on since."""
        return not self.running and (self._stop.is_set() or self._waits.exists())

    @property
    def _waits(self) -> Path:
        return self.batch.folder / "stopped"

    @property
    def complete(self) -> bool:
        """True once every record of the file has its answer."""
        return self.total is not None and self.done >= self.total and not self.running

    @property
    def left(self) -> float | None:
        """Expected seconds until the end of the step in hand, or None while that is unknown."""
        fresh = self.at - self._at_first
        if not self.running or self.of is None or not 0 < fresh < self.of - self._at_first:
            return None
        return (time.time() - self._began) / fresh * (self.of - self.at)

    def go(self) -> None:
        """Answer what has no answer yet, in a thread of its own; nothing happens when it works already."""
        if self.running:
            return
        self._stop.clear()
        self._waits.unlink(missing_ok=True)
        self.problem = None
        self._thread = threading.Thread(target=self._work, name=f"batch {self.id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after the chunk in hand; what is done is kept."""
        self._stop.set()
        with contextlib.suppress(OSError):  # a full disk: it is stopped all the same, until the server is
            self._waits.touch()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        try:
            self.done = self.batch.done
            if (self.total is not None or self._count()) and self.done < (self.total or 0):
                self._say("Step 2 of 3, classifying:", self.done, self.total)
                self.batch.run(self._told, self._stop, self._answers)
                self.done = self.batch.done
            self._record()
            self._say("Step 3 of 3, making the table:", 0, self.done)
            self.table(self._rows_made)
            if self.total is not None and self.done >= self.total:
                self._waits.unlink(missing_ok=True)  # stopped too late: nothing is left to wait
        except MedbenchError as error:
            self.problem = error
        except Exception as error:  # the end of a thread: logged whole, told in one sentence
            log.exception("Batch %s failed.", self.id)
            self.problem = full_disk(error) or UNEXPECTED
        self.sentence = ""

    def _say(self, sentence: str, at: int, of: int | None) -> None:
        """Begin a step of the work, with so many of its records behind it."""
        self.sentence, self.of, self._began = sentence, of, time.time()
        self.at = self._at_first = at

    def _count(self) -> bool:
        """Count the records of the file; False when it was stopped before the end."""
        self._say("Step 1 of 3, counting:", 0, None)
        counted = Account()
        for record in counted.watch(self.batch.reader.read(self.batch.source)):
            self.at += record.refused is None
            if self._stop.is_set():
                return False
        self.total = self.batch.total = counted.usable
        self.batch.account = counted
        return True

    def _told(self, done: int, total: int | None) -> None:
        self.done = self.at = done

    def _rows_made(self, done: int, total: int | None) -> None:
        self.at = done

    def _answers(self, chunks: Iterator[list[Item]]) -> Iterator[Answers]:
        """Answer for chunks; each is in the history before the next begins, so a kill costs neither."""
        told = self._turn()
        for number, items in enumerate(chunks, start=self.batch.resumed):
            yield predicting.answer(self.batch.loaded, items)
            batch_history.record_chunk(self.workspace, self.batch, told, number, items)

    def _turn(self) -> Turn:
        job = batch_history.job_of(self.workspace, self.batch)
        return Turn(self.batch.loaded.id, job, job_answers.mark_of(self.batch.source.path.name))

    def _record(self) -> None:
        """Write to the history what a kill kept from it; a challenger in the shadow answers later."""
        told = self._turn()
        batch_history.record(self.workspace, self.batch, told)
        shadowing.later(batch_history.answer_unseen(self.workspace, self.batch, told.job))

    @property
    def history_ids(self) -> list[str]:
        """The history's ids of the records answered and written so far, in file order."""
        while (path := batch_history.place_of(self.batch, self._ids_read)).exists():
            self._ids += read_json(path)["ids"]
            self._ids_read += 1
        return self._ids

    def table(self, tell: Tell | None = None) -> pd.DataFrame:
        """Return `Batch.table()`, kept until more is done, made by one thread at a time. Treat it as read-only."""
        with self._table_lock:
            done = self.batch.done
            if self._table is None or self._table[0] != done:
                self._table = (done, self.batch.table(tell))
            return self._table[1]

    def corrections(self) -> dict[int, tuple[list[str], str]]:
        """Return position -> (labels, note) of the corrections that stand."""
        stamp = history.stamp(self.workspace)
        if self._corrections is None or self._corrections[0] != stamp:
            self._corrections = (stamp, self._read_corrections())
        return self._corrections[1]

    def _read_corrections(self) -> dict[int, tuple[list[str], str]]:
        position = {entry: at for at, entry in enumerate(self.history_ids)}
        if not position:
            return {}
        frame = history.read(self.workspace, model=self.batch.loaded.id, corrected=True, limit=None)
        return {
            position[entry]: (list(labels), str(note))
            for entry, labels, note in zip(frame["id"], frame["labels"], frame["note"], strict=True)
            if entry in position
        }

    def correct(self, position: int, labels: Sequence[str], note: str) -> None:
        """Keep what a reader says the labels are."""
        history.correct(self.workspace, self._history_id(position), list(labels), note)

    def undo(self, position: int) -> None:
        """Take the newest correction of this record back."""
        history.undo(self.workspace, self._history_id(position))

    def _history_id(self, position: int) -> str:
        ids = self.history_ids
        if not 0 <= position < len(ids):
            raise MedbenchError(
                "a record that has been answered and written", f"record {position + 1}", "Wait for the batch to end."
            )
        return ids[position]

    def predictions(self, positions: Sequence[int] | None = None) -> Iterator[tuple[Item, Prediction]]:
        """Yield items with their answers, in file order; with `positions` only those."""
        wanted = None if positions is None else set(positions)
        for at, pair in enumerate(self.batch.predictions()):
            if wanted is None or at in wanted:
                yield pair

    def export(self, format: str | None = None) -> bytes:
        """Return the file with its answers and corrections, in its own format or as `format` (a reader's name)."""
        labels = {position: chosen for position, (chosen, _) in self.corrections().items()}
        with tempfile.TemporaryDirectory(dir=self.batch.folder) as folder:
            return self.batch.write(Path(folder) / f"out{self.ending(format)}", labels, format).read_bytes()

    def ending(self, format: str | None = None) -> str:
        """Return the file name ending of an export; files that came in compressed go out plain."""
        if format is not None:
            return get_reader(format).extensions[0]
        own = Path(self.name.removesuffix(".gz")).suffix
        return own or self.batch.reader.extensions[0] if self.batch.reader.writes else ".csv"

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return Path(self.name.removesuffix(".gz")).stem


_jobs: dict[str, Job] = {}
_lock = threading.Lock()


def keep(workspace: Workspace, data: BinaryIO) -> Path:
    """Write a dropped file's bytes under their own hash, once; return where. Raises MedbenchError when it cannot."""
    place = workspace.data / "batches" / "files"
    try:
        place.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with tempfile.TemporaryDirectory(dir=place, prefix=".") as folder:  # on a full disk nothing may be left behind
            kept = Path(folder) / "file"
            with kept.open("wb") as out:
                while piece := data.read(1 << 20):
                    digest.update(piece)
                    out.write(piece)
            return kept.replace(place / digest.hexdigest())
    except OSError as error:
        refused = full_disk(error) or MedbenchError(
            f"a folder that can be written, {place}", str(error.strerror).lower(), "Fix its permissions."
        )
        raise refused from error


def open_job(
    workspace: Workspace, asked: str, path: Path, name: str, mapping: ColumnMap | None = None, job: str = ""
) -> Job:
    """Return the job for a file, a model and a mapping: the one at work, or one that goes on from what is done.

    Args:
        workspace: Where models and batches lie.
        asked: A model's id, or `@job`: then one of its models answers for the whole file.
        path: The file.
        name: What the user called it.
        mapping: Which columns are which; guessed from the file when None.
        job: `@job` for a batch that is opened again, whose model is known.

    Raises:
        MedbenchError: For an unreadable file, an unknown model or job, or a file without any text column.
    """
    turn = batch_history.turn(workspace, asked, path)
    batch = batches.open_batch(workspace, turn.model, path, name, mapping, job=turn.alias or job)
    with _lock:
        key = str(batch.folder)
        if key not in _jobs or not _jobs[key].batch.folder.exists():
            _jobs[key] = Job(workspace, batch, done=batch.done)
        return _jobs[key]


def past(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the batches of this workspace, newest first: id, name, model, job, mapping, path, at (Unix time)."""
    place = workspace.data / "batches"
    found = []
    for card in place.glob("*/batch.json"):
        facts = read_json(card)
        path = place / "files" / str(facts.get("file"))
        if path.exists():
            mapping = ColumnMap(**{**facts["mapping"], "labels": tuple(facts["mapping"]["labels"])})
            known = {"id": card.parent.name, **{key: str(facts.get(key, "")) for key in ("name", "model", "job")}}
            found.append({**known, "mapping": mapping, "path": path, "at": card.stat().st_mtime})
    return sorted(found, key=lambda entry: float(entry["at"]), reverse=True)


def at_work(workspace: Workspace, batch_id: str) -> bool:
    """Return whether a thread of this process works on a batch now."""
    with _lock:
        job = _jobs.get(str(workspace.data / "batches" / checked_id(batch_id)))
    return job is not None and job.running


def reopen(workspace: Workspace, batch_id: str) -> Job:
    """Return the job of an earlier batch. Raises MedbenchError when it is gone."""
    with _lock:
        job = _jobs.get(str(workspace.data / "batches" / checked_id(batch_id)))
    if job is not None and job.batch.folder.exists():
        return job
    facts = next((entry for entry in past(workspace) if entry["id"] == batch_id), None)
    if facts is None:
        raise MedbenchError("an earlier file", repr(batch_id), "Drop the file again.")
    return open_job(workspace, facts["model"], facts["path"], facts["name"], facts["mapping"], facts["job"])


def delete(workspace: Workspace, batch_id: str) -> None:
    """Delete a batch, and its file unless another batch uses it. The history keeps what it has."""
    folder = workspace.data / "batches" / checked_id(batch_id)
    entries = past(workspace)
    with _lock:
        job = _jobs.pop(str(folder), None)
    if job is not None:
        job.stop()
        job.wait(60)
    own = next((entry for entry in entries if entry["id"] == batch_id), None)
    if own and not any(entry["path"] == own["path"] for entry in entries if entry["id"] != batch_id):
        own["path"].unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
