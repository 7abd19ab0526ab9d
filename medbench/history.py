"""What medbench said and what people made of it: `data/history/`, written by all, each process its own files.

    data/history/<host>-<pid>-<start>-<day>.jsonl         one object a line: a prediction, a correction or an undo
    data/history/texts/<host>-<pid>-<start>-<day>.jsonl   the texts of those predictions, so that they can be re-opened

Nothing here is a database that two processes could write to: each has its `journal`, and DuckDB reads the lines when
somebody asks. Texts lie apart, so that listing 200,000 predictions does not read them. Of a picture nothing is kept but
its name, its size and a hash of its bytes. With MEDBENCH_KEEP_TEXT=0 neither titles, texts nor names are kept.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench import journal
from medbench.errors import MedbenchError
from medbench.records import Item, Prediction
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

TITLE_LIMIT = 200
TEXT_LIMIT = 2_000_000  # characters; DuckDB refuses lines of over 16 MiB
Moment = float | date | datetime
_MARK = {"hash": "VARCHAR", **dict.fromkeys(("bytes", "width", "height"), "BIGINT")}
_COLUMNS = {
    **dict.fromkeys(
        ("kind", "id", "model", "item", "title", "top", "problem", "text_id", "of", "note", "who", "job", "together"),
        "VARCHAR",
    ),
    "own": "VARCHAR",
    **dict.fromkeys(("t", "probability", "doubt", "cut"), "DOUBLE"),
    **_MARK,
    **dict.fromkeys(("needs_human", "unlike"), "BOOLEAN"),
    **dict.fromkeys(("chosen", "labels"), "VARCHAR[]"),
}
_TEXT_COLUMNS = dict.fromkeys(("id", "title", "text"), "VARCHAR")
_APART = "\x1f"  # between labels on their way out of DuckDB: splitting is ten times faster than its lists


@dataclass(frozen=True, slots=True)
class PictureMark:
    """What is kept of a picture: enough to know it again, nothing to see.

    Attributes:
        hash: SHA-256 of the file, hex.
        bytes: Its size.
        width: Pixels.
        height: Pixels.
    """

    hash: str
    bytes: int
    width: int
    height: int


def picture_mark(content: bytes, size: tuple[int, int]) -> PictureMark:
    """Return the mark of a picture file and its (width, height) in pixels."""
    return PictureMark(hashlib.sha256(content).hexdigest(), len(content), *size)


def keeps_text() -> bool:
    """Return False when the user turned the keeping of titles and texts off (MEDBENCH_KEEP_TEXT=0)."""
    return os.environ.get("MEDBENCH_KEEP_TEXT", "1").strip().lower() not in ("0", "no", "false", "off")


def record(
    workspace: Workspace,
    predictions: Sequence[Prediction],
    items: Sequence[Item],
    pictures: Sequence[PictureMark] = (),
    job: str = "",
    together: Sequence[str] = (),
) -> list[str]:
    """Keep predictions and the items they are about.

    Args:
        workspace: Where the history lies.
        predictions: n predictions.
        items: The n items, in the same order.
        pictures: The n marks when the items are pictures; the pictures themselves are not kept.
        job: Name of the job (see `aliases`) that was asked, "" when a model was.
        together: With a job, n digests of what each item came with: the file, the drop, or itself.

    Returns:
        n ids, for `correct`, `undo` and `reopen`.

    Raises:
        MedbenchError: When the folder cannot be written.
        ValueError: When the two lists differ in length.
    """
    if len(predictions) != len(items):
        raise ValueError(f"{len(predictions)} predictions for {len(items)} items")
    if not predictions:
        return []
    with journal.lock:
        stem = journal.stem()
        text_ids: Sequence[str | None] = [None] * len(items)
        asked = [{"job": job, "together": mark} for mark in together] if job else [{}] * len(items)
        if pictures:
            each = zip(predictions, pictures, asked, strict=True)
            lines = ({**_picture_line(one, mark), **job_of} for one, mark, job_of in each)
            return journal.append(workspace.history / f"{stem}.jsonl", stem, lines)
        if keeps_text():
            texts = ({"kind": "text", "title": item.title, "text": item.text[:TEXT_LIMIT]} for item in items)
            text_ids = journal.append(workspace.history / "texts" / f"{stem}.jsonl", stem, texts)
        whole = zip(predictions, items, text_ids, asked, strict=True)
        lines = (
            {**_line_of(one, item, text_id), **job_of, **({"own": _own(item)} if job else {})}
            for one, item, text_id, job_of in whole
        )
        return journal.append(workspace.history / f"{stem}.jsonl", stem, lines)


def _own(item: Item) -> str:
    """Return a digest of a text itself: asked again, it is known again."""
    return hashlib.blake2b(item.joined.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _line_of(prediction: Prediction, item: Item, text_id: str | None) -> dict[str, Any]:
    top = max(prediction.labels, key=lambda score: score.probability, default=None)
    return {
        "kind": "prediction",
        "model": prediction.model,
        "item": prediction.id,
        "title": item.title[:TITLE_LIMIT] if text_id else "",
        "chosen": list(prediction.chosen),
        "top": top.label if top else None,
        "probability": top.probability if top else None,
        "doubt": prediction.doubt,
        "needs_human": prediction.needs_human,
        "unlike": prediction.unlike,
        "cut": prediction.cut,
        "problem": prediction.problem,
        "text_id": text_id,
    }


def _picture_line(prediction: Prediction, mark: PictureMark) -> dict[str, Any]:
    """Return the line of a picture, called by its name, or by its hash when names are not kept."""
    name = prediction.id if keeps_text() else mark.hash[:12]
    return {**_line_of(prediction, Item(name, "", ""), None), "item": name, **asdict(mark)}


def correct(workspace: Workspace, prediction_id: str, labels: Sequence[str], note: str = "", who: str = "") -> None:
    """Say what the labels of a prediction should have been. The newest correction counts.

    Raises:
        MedbenchError: When there is no such prediction, or the folder cannot be written.
    """
    _prediction_line(workspace, prediction_id)
    _say(workspace, {"kind": "correction", "of": prediction_id, "labels": list(labels), "note": note, "who": who})


def undo(workspace: Workspace, prediction_id: str, who: str = "") -> None:
    """Take the newest standing correction of a prediction back; the one before it, if any, counts again.

    Without a standing correction it changes nothing.

    Raises:
        MedbenchError: When there is no such prediction, or the folder cannot be written.
    """
    _prediction_line(workspace, prediction_id)
    _say(workspace, {"kind": "undo", "of": prediction_id, "who": who})


def reopen(workspace: Workspace, prediction_id: str) -> Item:
    """Return the item of a prediction with its whole title and text; both empty when texts are not kept.

    Raises:
        MedbenchError: When there is no such prediction.
    """
    line = _prediction_line(workspace, prediction_id)
    text_id = line.get("text_id") or ""
    kept = journal.lines_of(workspace.history / "texts", [text_id]).get(text_id, {})
    return Item(str(line["item"]), str(kept.get("title", "")), str(kept.get("text", "")))


def read(
    workspace: Workspace,
    *,
    model: str | None = None,
    label: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    corrected: bool | None = None,
    doubtful: bool | None = None,
    search: str = "",
    pictures: bool | None = None,
    texts: bool = False,
    limit: int | None = 1000,
) -> pd.DataFrame:
    """Return predictions as a frame, newest first, corrections applied.

    Args:
        workspace: Where the history lies.
        model: Only answers of this model.
        label: Only items that carry this label now (after corrections).
        since: Only from this moment on: Unix seconds, a datetime (UTC when it names no zone) or a UTC date.
        until: Only up to this moment; a date includes its whole day.
        corrected: True for corrected ones only, False for the others.
        doubtful: True for those that need a person, False for the others.
        search: Only items whose title or text holds this string; case does not matter.
        pictures: True for pictures only, False for texts only.
        texts: Add the column `text`.
        limit: At most this many rows; None for all.

    Returns:
        Columns id, t (UTC timestamp), model, item, title, chosen (list: what the model decided), top (most probable
        label), probability (of top, 0-1), doubt (0-1), needs_human, unlike, cut (0-1), problem, labels (list: what
        counts now), corrected (bool), note, who; with `pictures` hash, bytes, width, height; with `texts` also text.
    """
    times = [_seconds(since, -math.inf), _seconds(until, math.inf, whole_day=True)]
    tests = dict(zip(_TESTS, (model, label, corrected, doubtful, pictures), strict=True))
    where = ["p.kind = 'prediction'", *(test for test, value in tests.items() if value is not None)]
    values: list[Any] = [value for value in tests.values() if value is not None]
    with opened(workspace, "kind <> 'prediction' OR t BETWEEN ? AND ?", times) as history:
        join_standing(history)
        if search:
            where.append("(contains(lower(p.title), lower(?)) OR p.text_id IN (SELECT id FROM found))")
            values.append(search)
            _join_found(history, workspace, search)
        frame = history.execute(_QUESTION.format(where=" AND ".join(where)), [*values, limit]).df()
    return _tidied(workspace, frame if pictures else frame.drop(columns=list(_MARK)), texts)


_TESTS = (
    "p.model = ?",
    "list_contains(coalesce(s.labels, p.chosen), ?)",
    "(s.of IS NOT NULL) = ?",
    "p.needs_human = ?",
    "(p.hash IS NOT NULL) = ?",
)
_QUESTION = f"""
SELECT p.id, p.t, p.model, p.item, p.title, array_to_string(p.chosen, '{_APART}') AS chosen, p.top, p.probability,
       p.doubt, p.needs_human, p.unlike, p.cut, coalesce(p.problem, '') AS problem,
       array_to_string(coalesce(s.labels, p.chosen), '{_APART}') AS labels, s.of IS NOT NULL AS corrected,
       coalesce(s.note, '') AS note, coalesce(s.who, '') AS who, p.hash, p.bytes, p.width, p.height,
       p.text_id
FROM history p LEFT JOIN standing s ON s.of = p.id
WHERE {{where}} ORDER BY p.t DESC LIMIT ?
"""  # noqa: S608 - the conditions are ours, their values are bound


def _tidied(workspace: Workspace, frame: pd.DataFrame, texts: bool) -> pd.DataFrame:
    import pandas as pd

    frame["t"] = pd.to_datetime(frame["t"], unit="s", utc=True)
    for name in ("chosen", "labels"):
        cells = [cell.split(_APART) if cell else [] for cell in frame[name]]
        frame[name] = pd.Series(cells, dtype=object, index=frame.index)
    for name in ("needs_human", "unlike", "corrected"):
        frame[name] = frame[name].fillna(False).astype(bool)
    text_ids = frame.pop("text_id")
    if texts:
        kept = journal.lines_of(
            workspace.history / "texts", [text_id for text_id in text_ids if isinstance(text_id, str)]
        )
        cells = [str(kept.get(text_id, {}).get("text", "")) for text_id in text_ids]
        frame["text"] = pd.Series(cells, dtype=object, index=frame.index)
    return frame


def stamp(workspace: Workspace) -> str:
    """Return a short text that changes whenever the history does: a key for caches. Reads no line."""
    return ";".join(f"{path.name}:{path.stat().st_size}" for path in sorted(workspace.history.glob("*.jsonl")))


def delete_all(workspace: Workspace) -> int:
    """Delete every prediction, text and correction; return the bytes freed. There is no way back.

    Raises:
        MedbenchError: When a file cannot be deleted.
    """
    with journal.lock:
        freed = sum(path.stat().st_size for path in workspace.history.rglob("*.jsonl"))
        try:
            if workspace.history.exists():
                shutil.rmtree(workspace.history)
        except OSError as error:
            raise MedbenchError(
                f"permission to delete {workspace.history}", str(error), "Fix its permissions."
            ) from error
    return freed


def _say(workspace: Workspace, line: dict[str, Any]) -> None:
    with journal.lock:
        stem = journal.stem()
        journal.append(workspace.history / f"{stem}.jsonl", stem, [line])


@contextmanager
def opened(workspace: Workspace, keep: str, values: Sequence[Any]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a private DuckDB with the table `history`: the whole lines of all files for which `keep` holds."""
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        _read_lines(connection, "history", workspace.history, _COLUMNS, keep, values)
        yield connection


def _read_lines(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    folder: Path,
    columns: Mapping[str, str],
    keep: str,
    values: Sequence[Any],
) -> None:
    listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    connection.execute(f"CREATE TEMP TABLE {table} ({listed})")
    paths = [str(path) for path in sorted(folder.glob("*.jsonl")) if path.stat().st_size]
    if not paths:
        return
    schema = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    connection.execute(
        f"INSERT INTO {table} SELECT {', '.join(columns)} FROM read_json(?, format='newline_delimited',"  # noqa: S608
        f" columns={{{schema}}}, ignore_errors=true) WHERE id IS NOT NULL AND ({keep})",
        [paths, *values],
    )


def join_standing(history: duckdb.DuckDBPyConnection) -> None:
    """Make the table `standing`: the correction that counts now, of each prediction that has one."""
    history.execute("CREATE TEMP TABLE standing (of VARCHAR, labels VARCHAR[], note VARCHAR, who VARCHAR)")
    rows = _standing(history)
    if rows:
        history.executemany("INSERT INTO standing VALUES (?, ?, ?, ?)", rows)


def _standing(history: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Play corrections and undos in the order they were said; return (of, labels, note, who) of what is left."""
    said = history.execute(
        "SELECT kind, of, labels, note, who FROM history WHERE kind IN ('correction', 'undo') ORDER BY t"
    ).fetchall()
    stacks: dict[str, list[tuple[Any, ...]]] = {}
    for kind, *correction in said:
        stack = stacks.setdefault(correction[0], [])
        if kind == "correction":
            stack.append(tuple(correction))
        elif stack:
            stack.pop()
    return [stack[-1] for stack in stacks.values() if stack]


def _join_found(history: duckdb.DuckDBPyConnection, workspace: Workspace, search: str) -> None:
    """Make the table `found`: the ids of kept texts that hold the string."""
    keep = "contains(lower(title), lower(?)) OR contains(lower(text), lower(?))"
    _read_lines(history, "found", workspace.history / "texts", _TEXT_COLUMNS, keep, [search, search])


def _seconds(moment: Moment | None, default: float, *, whole_day: bool = False) -> float:
    if moment is None:
        return default
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(moment, date):
        begin = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
        return (begin + timedelta(days=1, microseconds=-1) if whole_day else begin).timestamp()
    return float(moment)


def _prediction_line(workspace: Workspace, prediction_id: str) -> dict[str, Any]:
    line = journal.lines_of(workspace.history, [prediction_id]).get(prediction_id, {})
    if line.get("kind") != "prediction":
        raise MedbenchError("the id of a prediction in the history", repr(prediction_id), "Open it from the history.")
    return line
