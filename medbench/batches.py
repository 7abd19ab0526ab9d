"""Thousands of records through one model: in chunks, stoppable, resumable, and back out in the format they came in.

A batch is a folder (`data/batches/<id>/`, or `<out>.partial/` for the command line):

    batch.json    what is being answered: model, file fingerprint, column map, chunk size; written first
    00000.npz     the answers of one chunk, written by rename; a chunk that exists is never computed again
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from medbench import mapping as columns
from medbench import predicting, trust_figures
from medbench.answer_cells import ROW, additions, table_row
from medbench.errors import MedbenchError
from medbench.partial_folders import CHUNKS, KEPT
from medbench.predicting import Answers, Loaded
from medbench.readers import Account, Reader, Source, all_readers, get_reader, open_source
from medbench.records import ColumnMap, Item, Prediction, Record
from medbench.workspace import Workspace, file_mark, read_json, replacing, write_json

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 1000
SAMPLE = 200
LOOKED = 500
"""Records that are looked at for whether the model learnt from them, the first of a file."""
PLAIN = ("tables", "json_list", "jsonl")  # formats that records of any other format can go out in
_ARRAYS = tuple(each.name for each in fields(Answers) if each.name not in ("loaded", "ids", "strange", "alone"))
Tell = Callable[[int, "int | None"], None]
Answering = Callable[[Iterator[list[Item]]], Iterator[Answers]]


@dataclass
class Batch:
    """One file on its way through one model.

    Attributes:
        folder: Where its chunks lie.
        loaded: The model.
        reader: The format of the file.
        source: The file.
        mapping: Which columns are title, text and id.
        chunk: Records answered at a time, a count.
        total: Usable records in the file, once it has been read to its end.
        job: `@job` when a job was asked, not a model.
        account: What the reader did with each record; filled by `run`.
    """

    folder: Path
    loaded: Loaded
    reader: Reader
    source: Source
    mapping: ColumnMap
    chunk: int = CHUNK
    total: int | None = None
    resumed: int = 0
    job: str = ""
    account: Account = field(default_factory=Account)
    _chunks: dict[int, Answers] = field(default_factory=dict)
    _lengths: dict[int, int] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Records answered so far."""
        return sum(self._length(number) for number in range(self._finished()))

    @property
    def complete(self) -> bool:
        """True once every record of the file has an answer."""
        return self.total is not None and self.done == self.total

    def run(self, tell: Tell | None = None, stop: threading.Event | None = None, by: Answering | None = None) -> None:
        """Answer every record that has no answer yet; returns early, keeping what is done, when `stop` is set.

        Args:
            tell: Called after each chunk with records done and the total (None while it is not known).
            stop: Set by another thread to end after the chunk in hand.
            by: What answers for chunks, in their order; this process when None.
        """
        finished = self.resumed = self._finished()
        self.account = Account()
        chunks = _chunked(self.items(self.account), self.chunk)
        answered = sum(len(chunk) for chunk in itertools.islice(chunks, finished))
        asked = itertools.takewhile(lambda _: stop is None or not stop.is_set(), chunks)
        here: Answering = partial(map, partial(predicting.answer, self.loaded))
        for number, answers in enumerate((by or here)(asked), start=finished):
            self._store(number, answers)
            answered += len(answers)
            if tell is not None:
                tell(answered, self.total)
        if stop is None or not stop.is_set():
            self.total = answered

    def table(self, tell: Tell | None = None) -> pd.DataFrame:
        """Return one row per answered record, in file order: id, title, labels, top, probability, doubt and flags.

        Args:
            tell: Called after each chunk with the rows made and the total (None while it is not known).
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        items = self.items()
        for number in range(self._finished()):
            answers = self._chunk(number)
            part = list(itertools.islice(items, len(answers)))
            seen = predicting.seen_in_training(self.loaded, part)
            for row, item in enumerate(part):
                told = {"position": len(rows), "id": item.id, "title": item.title or item.text[:120]}
                rows.append({**told, **table_row(answers, row), "seen": bool(seen[row])})
            if tell is not None:
                tell(len(rows), self.total)
        return pd.DataFrame(rows, columns=["position", "id", "title", *ROW])

    def given(self, number: int) -> list[Prediction]:
        """Return the full answers of one chunk."""
        answers = self._chunk(number)
        return [answers.prediction(row) for row in range(len(answers))]

    def prediction(self, position: int) -> Prediction:
        """Return the full answer for the record at this position among the usable records."""
        return self._chunk(position // self.chunk).prediction(position % self.chunk)

    def stands(self) -> list[str]:
        """Return what stands behind the answers so far, one sentence each; none before the first."""
        chunks = [self._chunk(number) for number in range(self._finished())]
        n = sum(map(len, chunks))
        alone = n - sum(int(answers.needs_human.sum()) for answers in chunks)
        if not n:
            return []
        about = trust_figures.beside_a_file(self.loaded.trust.band, self.loaded.card, alone, n)
        return [*about, *trust_figures.learnt_from(*self._learnt, n), *self.loaded.behind]

    @cached_property
    def _learnt(self) -> tuple[int, int]:
        """How many of the first records the model learnt from, and how many were looked at."""
        items = list(itertools.islice(self.items(), LOOKED))
        return int(predicting.seen_in_training(self.loaded, items).sum()) if items else 0, len(items)

    def problems(self, number: int) -> list[str]:
        """Return why records of one chunk have no answer, one sentence each; "" for those that have one."""
        answers = self._chunk(number)
        return [answers.problem(row) for row in range(len(answers))]

    def item(self, position: int) -> Item:
        """Return the item at this position among the usable records. Raises MedbenchError past the end."""
        for item in itertools.islice(self.items(), position, position + 1):
            return item
        raise MedbenchError("a position inside the file", str(position), "Choose a row of the table.")

    def predictions(self) -> Iterator[tuple[Item, Prediction]]:
        """Yield every answered item with its full answer, in file order."""
        items = self.items()
        for number in range(self._finished()):
            given = self.given(number)
            yield from zip(itertools.islice(items, len(given)), given, strict=False)

    def write(self, out: Path, corrections: Mapping[int, list[str]] | None = None, format: str | None = None) -> Path:
        """Write the file back with its answers, whole or not at all.

        Args:
            out: Where to.
            corrections: Position -> labels a reader decided on; they replace the model's.
            format: Name of a reader to write with, when not the file's own format (PDF goes out as tables).

        Returns:
            `out`.

        Raises:
            MedbenchError: Records of this file cannot go out in that format.
        """
        writer = get_reader(format) if format else (self.reader if self.reader.writes else get_reader("tables"))
        answered = self._with_answers(corrections or {})
        with replacing(out) as temporary, _open_out(temporary, out) as file:
            if writer is self.reader:
                writer.write(answered, file, self.source)
            elif writer.name in PLAIN:
                self._write_plain(writer, answered, file, out)
            else:
                raise MedbenchError(
                    f"{self.reader.title}, CSV or JSON to write answers to", writer.title, "Choose one of these."
                )
        return out

    def _write_plain(
        self, writer: Reader, answered: Iterator[tuple[Record, dict[str, str]]], file: BinaryIO, out: Path
    ) -> None:
        """Write the readable records in a format that any record fits: one column or key per field of the file."""
        names = columns.columns_of(itertools.islice(self.reader.read(self.source), SAMPLE))
        delimiter = "\t" if out.suffix.lower() in (".tsv", ".tab") else ","
        with tempfile.TemporaryDirectory() as folder:
            # Tables are written under the column names of a file; here those names are the whole of it.
            head = Path(folder) / "head"
            with head.open("w", encoding="utf-8", newline="") as lines:
                csv.writer(lines, delimiter=delimiter).writerow(names)
            rows = ((_plain(record, names), added) for record, added in answered if record.refused is None)
            writer.write(rows, file, Source(head, out.name, delimiter=delimiter))

    def _with_answers(self, corrections: Mapping[int, list[str]]) -> Iterator[tuple[Record, dict[str, str]]]:
        position, finished = 0, self._finished()  # counted once: it looks at the disk
        for record in self.reader.read(self.source):
            if record.refused is not None:
                yield record, {}
                continue
            number, row = divmod(position, self.chunk)
            answered = number < finished
            added = additions(self._chunk(number), row, corrections.get(position)) if answered else {}
            yield record, added
            position += 1

    def items(self, account: Account | None = None) -> Iterator[Item]:
        """Yield the usable records of the file in its order."""
        records = self.reader.read(self.source)
        records = records if account is None else account.watch(records)
        rows = columns.apply(self.mapping, records, str, self.reader.roles)
        for position, row in enumerate(rows):
            yield Item(row.id or str(position + 1), row.title, row.text)

    def _finished(self) -> int:
        """Return how many chunks are on disk, without a gap from the first."""
        number = len(self._lengths)
        while (self.folder / f"{number:05d}.npz").exists():
            number += 1
        return number

    def _length(self, number: int) -> int:
        if number not in self._lengths:
            self._lengths[number] = len(self._chunk(number))
        return self._lengths[number]

    def _chunk(self, number: int) -> Answers:
        if number not in self._chunks:
            with np.load(self.folder / f"{number:05d}.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in _ARRAYS if name in stored}  # older chunks lack the last
                ids = [str(entry) for entry in stored["ids"]]
            if len(self._chunks) >= 64:
                self._chunks.clear()
            self._chunks[number] = Answers(self.loaded, ids, **arrays)
        return self._chunks[number]

    def _store(self, number: int, answers: Answers) -> None:
        """Write one chunk; chunks are stored in order, so the lengths known are those of the first chunks."""
        arrays = {name: getattr(answers, name) for name in _ARRAYS}
        with replacing(self.folder / f"{number:05d}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, ids=np.array(answers.ids, dtype=np.str_), **arrays)


def _plain(record: Record, names: Sequence[str]) -> Record:
    """Return the record with one value per field, several joined by "; ", and the same as a JSON object."""
    cells = {name: "; ".join(record.fields.get(name, ())) for name in names}
    as_json = json.dumps(cells, ensure_ascii=False)
    return Record(record.line, {name: (cell,) for name, cell in cells.items()}, order=(("json", as_json),))


def open_batch(
    workspace: Workspace,
    model_id: str,
    path: Path,
    name: str | None = None,
    mapping: ColumnMap | None = None,
    folder: Path | None = None,
    chosen: Mapping[str, str] | None = None,
    job: str = "",
    chunk: int = CHUNK,
) -> Batch:
    """Open a file for classification with a model; the same file, model and mapping go on where they stopped.

    Args:
        workspace: Where models lie and batches go.
        model_id: The model to ask.
        path: The file.
        name: What the user called it.
        mapping: Which columns are which; guessed from the file when None.
        folder: Where chunks go; `data/batches/<id>` when None.
        chosen: Role -> column fixed by the user; the rest is guessed. Not together with `mapping`.
        job: `@job` when a job was asked, and `model_id` is the model whose turn it is.
        chunk: Records answered at a time, a count; what a kill costs at most.

    Raises:
        MedbenchError: For an unreadable file, an unknown model, or a file without any text column.
    """
    loaded = predicting.load_for(workspace, model_id, "text")
    reader, source = open_source(path, name)
    if mapping is None:
        mapping = columns.guess(reader.roles, list(itertools.islice(reader.read(source), SAMPLE)), chosen)
    if mapping.title is None and mapping.text is None:
        raise MedbenchError(
            "a column with a title or a text", f"none in {source.name!r}", "Name one with --text or --title."
        )
    identity = {
        "model": loaded.id,
        "card": (loaded.folder / "model.json").stat().st_mtime_ns,
        "file": file_mark(path),
        "mapping": asdict(mapping),
        "chunk": chunk,
        **({"job": job} if job else {}),
    }
    mark = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    folder = folder or workspace.data / "batches" / mark
    _make_ready(folder, mark, {"name": source.name, **{k: v for k, v in identity.items() if k != "card"}})
    return Batch(folder, loaded, reader, source, mapping, chunk, job=job)


def _make_ready(folder: Path, mark: str, facts: Mapping[str, Any]) -> None:
    """Write what is being answered; chunks of another file or model go, and one torn by a power cut as well."""
    known = folder / "batch.json"
    if known.exists() and read_json(known).get("mark") != mark:
        for stale in [*folder.glob(CHUNKS), *folder.glob(KEPT), known]:
            stale.unlink()
    for torn in [path for path in folder.glob(CHUNKS) if not zipfile.is_zipfile(path)]:
        torn.unlink()
    if not known.exists():
        write_json(known, {"mark": mark, **facts})


def _open_out(temporary: Path, out: Path) -> BinaryIO:
    """Open what becomes `out`, compressed when its name says so."""
    return cast(BinaryIO, gzip.open(temporary, "wb")) if out.suffix.lower() == ".gz" else temporary.open("wb")


def format_for(out: Path, batch: Batch) -> str | None:
    """Return the format that the ending of `out` asks for, or None when it is the file's own or no format's.

    Raises:
        MedbenchError: Answers to this file cannot be written in that format.
    """
    ending = Path(out.name.lower().removesuffix(".gz")).suffix
    if ending in batch.reader.extensions and batch.reader.writes:
        return None
    asked = [reader for reader in all_readers().values() if ending in reader.extensions]
    found = next((reader.name for reader in asked if reader.name in PLAIN), None)
    if asked and found is None:
        own = f"{batch.reader.title}, " if batch.reader.writes else ""
        raise MedbenchError(
            f"{own}CSV or JSON to write answers to", f"{out.name!r}", "Choose a name with one of these endings."
        )
    return found


def _chunked(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk
