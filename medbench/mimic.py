"""MIMIC-III and MIMIC-IV: the CSV files of a download become one DuckDB file with notes, codes, splits and pairs.

`data/mimic/<name>-<hash>.duckdb` is built in a hidden folder beside it, renamed when it is whole, and then only read.
It holds
    the tables of the download        as they stand in the files, of the chosen patients (see `Verdict.tables`)
    chosen                            the patients, and whether they have a discharge note
    note_parts, notes                 where the usable discharge notes stand; one text per admission
    codes, diagnoses, procedures      one row per admission and code: version, kind, dotted code, label, official text
    admission_codes                   the codes of each admission as lists, in the order of their rank
    splits                            subject_id, hadm_id, split
    facts                             patient, codes, split and text of every admission with a note
    train, validation, test           `facts` of one split
    pairs                             prompt and completion of every admission with a note and codes
    about                             the order and the verdict, as JSON
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench import mimic_checks, mimic_connection, mimic_files, mimic_schema, mimic_splits
from medbench.errors import MedbenchError, Stopped
from medbench.mimic_feed import Feed
from medbench.mimic_files import CODING, Download, Table, Version
from medbench.mimic_verdict import TableCount, Verdict, judge
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import duckdb

__all__ = ["Order", "TableCount", "Verdict", "build", "databases", "find", "opened"]

Tell = Callable[[float, str], None]
_LAYOUT = 1
_LOADING = 0.8  # share of the way that reading the files takes; the rest is joining notes, codes and patients


@dataclass(frozen=True)
class Order:
    """What is to be built.

    Attributes:
        folder: The folder of the download.
        version: "iii" or "iv".
        patients: How many patients, those with discharge notes first; None means all.
        seed: Seed of the draw of patients and of the splits.
        name: First part of the file's name; empty means mimic-iii or mimic-iv.
        notes: Folder of MIMIC-IV-Note where it lies apart.
        split_ids: Files with published splits (see `mimic_splits`); empty means 80/10/10 by patient.
        everything: Also tables that coding does not need, such as laboratory values.
    """

    folder: Path
    version: Version
    patients: int | None = None
    seed: int = 0
    name: str = ""
    notes: Path | None = None
    split_ids: tuple[Path, ...] = ()
    everything: bool = True

    def __post_init__(self) -> None:
        """Raise MedbenchError unless the order makes sense before anything is read."""
        if self.version not in mimic_files.TITLES:
            raise MedbenchError("version iii or iv", repr(self.version), "Choose iii for MIMIC-III, iv for MIMIC-IV.")
        if self.patients is not None and self.patients < 1:
            raise MedbenchError("one patient or more", str(self.patients), "Leave the number out to take all patients.")


@dataclass
class _Build:
    """A build in progress."""

    order: Order
    download: Download
    place: Path
    con: duckdb.DuckDBPyConnection
    stop: threading.Event
    say: Tell
    total: int
    done: int = 0
    counts: list[TableCount] = field(default_factory=list)

    def read(self, table: Table, statement: str, what: str) -> int:
        """Run a statement that reads `table` through the pipe; returns the number of rows in the file."""
        before = self.done

        def tell(read: int, rows: int) -> None:
            share = min((before + read) / max(self.total, 1), 1.0)
            self.say(_LOADING * share, f"{what} {table.name}: {rows:,} rows.")

        with Feed(table, self.place / "pipe.csv", self.stop, tell) as feed:
            self.run(statement, table)
        self.done = before + table.bytes
        tell(0, feed.rows)
        return feed.rows

    def run(self, statement: str, table: Table | None = None) -> None:
        """Execute a statement; DuckDB's troubles come out as ours."""
        import duckdb

        if self.stop.is_set():
            raise Stopped
        try:
            self.con.execute(statement)
        except duckdb.InterruptException:
            raise Stopped from None
        except duckdb.Error as error:
            raise mimic_checks.told(error, table) from error


def build(
    workspace: Workspace,
    order: Order,
    *,
    drop: bool = False,
    say: Tell | None = None,
    stop: threading.Event | None = None,
) -> tuple[Path, Verdict]:
    """Build the database of a MIMIC download, or return the one that was built from the same files and order.

    Args:
        workspace: Where.
        order: What.
        drop: Build anew, in the place of the existing one.
        say: Told (share done 0-1, sentence) on the way, from more than one thread.
        stop: Set it to cancel.

    Returns:
        The file and what it holds.

    Raises:
        MedbenchError: The folder, a table, a file or the codes are not as they should be; the disk is full.
        Stopped: The user cancelled. Nothing is left behind.
    """
    download = mimic_files.look(order.folder, order.version, order.notes)
    if not order.everything:
        download = download.only(CODING)
    wanted = mimic_splits.read(order.split_ids)
    path = workspace.mimic / f"{_slug(order.name or f'mimic-{order.version}')}-{_digest(order, download)}.duckdb"
    if path.exists() and not drop:
        return path, verdict_of(path)
    workspace.mimic.mkdir(parents=True, exist_ok=True)
    with mimic_connection.hidden(workspace.mimic, path.stem) as place:
        verdict = _built(order, download, wanted, place, say or (lambda share, sentence: None), stop)
        for old in workspace.mimic.glob(f"{path.stem}.tokens-*.parquet"):
            old.unlink()  # they belong to the file that is replaced
        (place / "build.duckdb").chmod(0o644)
        (place / "build.duckdb").replace(path)
    return path, verdict


def _built(
    order: Order,
    download: Download,
    wanted: mimic_splits.Published | None,
    place: Path,
    say: Tell,
    stop: threading.Event | None,
) -> Verdict:
    total = sum(table.bytes * _passes(order, download, name) for name, table in download.tables.items())
    stop = stop or threading.Event()
    with mimic_connection.connected(place) as con, mimic_connection.interrupting(con, stop):
        work = _Build(order, download, place, con, stop, say, total)
        _check_codes(work)
        _choose(work)
        for table in _in_order(download):
            work.run(mimic_schema.made(table))
            rows = work.read(table, mimic_schema.filled(table, str(place / "pipe.csv")), "Loading")
            kept = int(_one(con, f"SELECT count(*) FROM {table.name}"))
            work.counts.append(TableCount(table.name, table.path.name, rows, kept))
        _derive(work, wanted)
        say(0.97, "Counting what is there and what was left out.")
        verdict = judge(con, order.version, work.counts, download.unknown, wanted)
        con.execute("CREATE TABLE about (key VARCHAR, value VARCHAR)")
        told = {"order": json.dumps(asdict(order), default=str), "verdict": json.dumps(asdict(verdict))}
        con.executemany("INSERT INTO about VALUES (?, ?)", list(told.items()))
        work.run("CHECKPOINT")
        say(1.0, "Done.")
    return verdict


def _passes(order: Order, download: Download, name: str) -> int:
    """How often a file is read: codes are checked first, notes looked through first when patients are chosen."""
    twice = name in mimic_checks.CODE_TABLES or name == "patients"
    return 1 + twice + (order.patients is not None and download.notes is not None and name == download.notes.name)


def _in_order(download: Download) -> list[Table]:
    """Small tables first, so that what is wrong with them is told early."""
    return sorted(download.tables.values(), key=lambda table: (table.bytes, table.name))


def _check_codes(work: _Build) -> None:
    pipe = str(work.place / "pipe.csv")
    for name in mimic_checks.CODE_TABLES:
        if name in work.download.tables:
            table = work.download.tables[name]
            work.read(table, mimic_checks.used(table, pipe, work.order.version), "Checking the codes of")
    mimic_checks.check_zeros(work.con, set(work.download.tables))
    for name in mimic_checks.CODE_TABLES:
        work.run(f"DROP TABLE IF EXISTS used_{name}")


def _choose(work: _Build) -> None:
    """Draw the patients. Who has a note is looked up first, unless everybody is taken anyway."""
    pipe, patients, notes = str(work.place / "pipe.csv"), work.download.tables["patients"], work.download.notes
    subject = "SELECT DISTINCT CAST(subject_id AS BIGINT) AS subject_id FROM"
    work.read(patients, f"CREATE TABLE everybody AS {subject} {mimic_schema.rows_of(patients, pipe)}", "Reading")
    work.run("CREATE TABLE noted (subject_id BIGINT)")
    if notes is not None and work.order.patients is not None:
        usable = mimic_schema.is_note(work.order.version)
        rows = mimic_schema.rows_of(notes, pipe)
        work.read(notes, f"INSERT INTO noted {subject} {rows} WHERE {usable}", "Looking for discharge notes in")
    work.run(mimic_schema.choose(work.order.patients, work.order.seed))
    work.run("DROP TABLE everybody")
    work.run("DROP TABLE noted")


def _derive(work: _Build, wanted: mimic_splits.Published | None) -> None:
    order, tables = work.order, set(work.download.tables)
    work.say(_LOADING, "Joining notes and addenda.")
    for statement in mimic_schema.note_parts(order.version, work.download.notes is not None):
        work.run(statement)
    work.run(
        "UPDATE chosen SET has_note = true WHERE subject_id IN (SELECT subject_id FROM note_parts) AND NOT has_note"
    )
    work.say(_LOADING + 0.03, "Grouping the codes of each admission.")
    for statement in mimic_schema.codes(order.version, tables):
        work.run(statement)
    work.say(_LOADING + 0.06, "Dealing patients out to train, validation and test.")
    if wanted is None:
        work.run(mimic_schema.draw_splits(order.seed))
    else:
        mimic_splits.apply(work.con, wanted, order.version, work.download.notes is not None)
    work.say(_LOADING + 0.08, "Writing notes, codes and patients together.")
    for statement in mimic_schema.facts(order.version):
        work.run(statement)


# --- files -----------------------------------------------------------------------------------------------------


def _slug(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:40].strip("-") or "mimic"


def _digest(order: Order, download: Download) -> str:
    """Return ten hex digits that tell one order over one download from another."""
    found = sha256(f"{_LAYOUT} {order.patients} {order.seed} {sorted(download.tables)}".encode())
    found.update(download.digest().encode())
    for path in order.split_ids:
        found.update(path.read_bytes())
    return found.hexdigest()[:10]


def _one(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = con.execute(query).fetchone()
    return row[0] if row else None


@contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a built database for reading.

    Raises:
        MedbenchError: It is not there or damaged.
    """
    import duckdb

    try:
        con = duckdb.connect(str(path), read_only=True, config={"memory_limit": mimic_connection.MEMORY})
    except duckdb.Error as error:
        found = "no such file" if not path.exists() else f"one that cannot be read ({str(error).splitlines()[0][:120]})"
        raise MedbenchError(f"a MIMIC database {path.name}", found, "Import the MIMIC folder again.") from error
    try:
        yield con
    finally:
        con.close()


def verdict_of(path: Path) -> Verdict:
    """Return what a built database holds, as it was counted when it was built."""
    with opened(path) as con:
        stored = json.loads(_one(con, "SELECT value FROM about WHERE key = 'verdict'"))
    return Verdict(**{**stored, "tables": [TableCount(**entry) for entry in stored["tables"]]})


def databases(workspace: Workspace) -> list[Path]:
    """Return the built databases, newest first."""
    return sorted(workspace.mimic.glob("*.duckdb"), key=lambda path: path.stat().st_mtime, reverse=True)


def find(workspace: Workspace, name: str) -> Path:
    """Return a database by its file's name, with or without its ending and hash, or by its path; the newest one fits.

    Raises:
        MedbenchError: There is none.
    """
    if name.endswith(".duckdb") and Path(name).is_file():
        return Path(name)
    known = databases(workspace)
    wanted = name.removesuffix(".duckdb")
    found = next((path for path in known if wanted in (path.stem, path.stem[:-11])), None)
    if found is None:
        there = ", ".join(path.stem for path in known[:10])
        todo = f"Choose one of these: {there}." if there else "Build one first: medbench import mimic FOLDER."
        raise MedbenchError("the name of a MIMIC database", repr(name), todo)
    return found
