"""What a MIMIC build works in: a hidden folder under a lock, DuckDB with bounded memory, a stop that is heard."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import Stopped
from medbench.mimic_checks import told

if TYPE_CHECKING:
    import duckdb

MEMORY = "2GB"


@contextmanager
def hidden(place: Path, stem: str) -> Iterator[Path]:
    """Yield a hidden folder for a build, gone afterwards; what a killed build has left is cleared away first.

    A build holds the lock of its folder as long as it lives, so a folder whose lock is free belongs to nobody.
    """
    import fcntl

    for left in place.glob(".*.building"):
        try:
            handle = os.open(left / "lock", os.O_RDWR)
        except OSError:
            continue  # just being made, or just being removed
        try:
            with suppress(BlockingIOError):  # another build is at work in it
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(handle)
    folder = Path(tempfile.mkdtemp(dir=place, prefix=f".{stem}.", suffix=".building"))
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextmanager
def connected(place: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database that is being built, with bounded memory and room to spill beside it.

    Raises:
        MedbenchError: DuckDB met something; in a user's words.
        Stopped: A statement was interrupted, whoever had it run.
    """
    import duckdb

    config: dict[str, Any] = {
        "memory_limit": MEMORY,
        "threads": str(os.cpu_count() or 1),
        "temp_directory": str(place / "spill"),
        "preserve_insertion_order": "false",  # rows may be written side by side: keys order them, not places
        "autoinstall_known_extensions": "false",  # nothing is fetched
        "autoload_known_extensions": "false",
    }
    try:
        con = duckdb.connect(str(place / "build.duckdb"), config=config)
    except duckdb.Error as error:
        raise told(error) from error
    try:
        yield con
        con.close()
    except duckdb.InterruptException:
        raise Stopped from None
    except duckdb.Error as error:
        raise told(error) from error
    finally:
        con.close()


@contextmanager
def interrupting(con: duckdb.DuckDBPyConnection, stop: threading.Event) -> Iterator[None]:
    """Interrupt a long statement when the user cancels."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            if stop.is_set():
                con.interrupt()

    watcher = threading.Thread(target=watch, name="mimic cancel", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
