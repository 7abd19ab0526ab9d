"""A table's file, fed to DuckDB through a named pipe: unpacked, checked and counted on the way.

DuckDB reads gzip by itself, but it neither verifies the checksum nor says how many rows it passed over, and it cannot
be stopped gently. So a thread of ours unpacks the file into a pipe that DuckDB reads: one pass, nothing on disk,
progress in bytes, an exact count of the rows in the file, and an end between two pieces when the user cancels.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from medbench.errors import MedbenchError, Stopped
from medbench.mimic_files import Table, damaged

_PIECE = 1 << 20
_QUOTE, _NEWLINE = ord('"'), ord("\n")


class RowCounter:
    """Counts the records of a CSV file piece by piece: line ends outside quotes (RFC 4180; a doubled quote is even)."""

    def __init__(self) -> None:
        self._ends = 0
        self._inside = False
        self._open_line = False

    def add(self, piece: bytes) -> None:
        """Count on."""
        if not piece:
            return
        data = np.frombuffer(piece, dtype=np.uint8)
        ends = np.flatnonzero(data == _NEWLINE)
        quotes = np.flatnonzero(data == _QUOTE)
        before = np.searchsorted(quotes, ends) + self._inside
        self._ends += int(np.count_nonzero(before % 2 == 0))
        self._inside = bool((len(quotes) + self._inside) % 2)
        self._open_line = piece[-1] != _NEWLINE

    @property
    def rows(self) -> int:
        """Records so far, the header not counted."""
        return max(self._ends + self._open_line - 1, 0)

    @property
    def in_quotes(self) -> bool:
        """True while a quote is open; at the end of a file that means that the file was cut."""
        return self._inside


class Feed:
    """A pipe that holds the unpacked file once, for one reader; use it as a context.

    Attributes:
        path: The pipe, to be read like a CSV file.
        rows: Records that have gone through, the header not counted.
    """

    def __init__(self, table: Table, pipe: Path, stop: threading.Event, tell: Callable[[int, int], None]) -> None:
        """Prepare the pipe; nothing is read before the context is entered.

        Args:
            table: What to read.
            pipe: Where the pipe is to be made.
            stop: Set when the user cancels.
            tell: Told (bytes of the file read, records passed) from the feeding thread.
        """
        self.path = pipe
        self._table, self._stop, self._tell = table, stop, tell
        self._counter = RowCounter()
        self._problem: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"feed {table.name}", daemon=True)

    @property
    def rows(self) -> int:
        """Records that have gone through, the header not counted."""
        return self._counter.rows

    def __enter__(self) -> Feed:
        """Make the pipe and start to feed it."""
        os.mkfifo(self.path, 0o600)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the pipe; raise what ended the feeding early, which the reader has only seen as an early end."""
        # A reader that failed early leaves the thread waiting for somebody to open the pipe, now or in a moment: so the
        # pipe is held open, and emptied, until the thread has gone.
        self._over.set()
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        while self._thread.is_alive():
            with suppress(BlockingIOError):
                os.read(reader, _PIECE)
            self._thread.join(0.005)
        os.close(reader)
        self.path.unlink()
        if isinstance(self._problem, Stopped | MedbenchError):
            raise self._problem from error
        if self._problem is not None and kind is None:
            raise self._problem
        if kind is None and self._counter.in_quotes:
            raise damaged(self._table.path, "it ends inside a quoted text")

    def _work(self) -> None:
        try:
            with self.path.open("wb") as out:
                self._pump(out)
        except BrokenPipeError:
            pass  # the reader has gone, and says why itself
        except (OSError, EOFError, zlib.error) as error:
            self._problem = damaged(self._table.path, error)
        except Stopped as error:
            self._problem = error

    def _pump(self, out: object) -> None:
        write = out.write  # type: ignore[attr-defined]
        with self._table.path.open("rb") as raw, self._table.open(raw) as source:
            while piece := source.read(_PIECE):
                if self._stop.is_set():
                    raise Stopped
                if self._over.is_set():
                    return  # the reader has gone, and says why itself
                self._counter.add(piece)
                write(piece)
                with suppress(OSError, ValueError):
                    self._tell(raw.tell(), self.rows)
