"""Files that only grow: one JSON object a line, each file written by one process, read by all.

A line's id names its file and the byte it begins at, so that one line is read without the others. Torn lines (a full
disk, a killed process) are passed over.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from medbench.errors import MedbenchError, full_disk

VERSION = 1
_ID = re.compile(r"(?P<file>[a-z0-9][a-z0-9.-]*-\d{8})-(?P<at>[0-9a-f]+)-[0-9a-f]{8}")
lock = threading.Lock()
"""Held while this process writes."""


@dataclass
class _Process:
    """The writer's name (made anew after a fork) and the newest time it wrote, so that its times never tie."""

    pid: int = 0
    name: str = ""
    newest: float = 0.0

    def stem(self) -> str:
        if self.pid != os.getpid():
            host = re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-")[:40] or "host"
            self.pid, self.name = os.getpid(), f"{host}-{os.getpid()}-{time.time_ns() // 1_000_000:x}"
        return f"{self.name}-{time.strftime('%Y%m%d', time.gmtime())}"

    def now(self) -> float:
        self.newest = max(round(time.time(), 6), round(self.newest + 1e-6, 6))
        return self.newest


_process = _Process()


def stem() -> str:
    """Return the name, without ending, of the files that this process writes today."""
    return _process.stem()


def append(path: Path, name: str, lines: Iterable[dict[str, Any]]) -> list[str]:
    """Append lines to a file of this process; return their ids, which name the file and the byte they begin at.

    Args:
        path: The file, named after `stem`.
        name: What ids begin with.
        lines: JSON-ready objects.

    Raises:
        MedbenchError: The folder cannot be written.
    """
    ids: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "ab") as file:
            at = os.fstat(handle).st_size
            # A write that was cut short left half a line: end it, so that only that one is lost.
            if at and os.pread(handle, 1, at - 1) != b"\n":
                at += file.write(b"\n")
            for line in lines:
                ids.append(f"{name}-{at:x}-{secrets.token_hex(4)}")
                whole = {"v": VERSION, "id": ids[-1], "t": _process.now(), **line}
                at += file.write(json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    except OSError as error:
        refused = full_disk(error) or MedbenchError(
            f"a folder that can be written, {path.parent}", str(error.strerror).lower(), "Fix its permissions."
        )
        raise refused from error
    return ids


def whole_lines(path: Path) -> list[str]:
    """Return the whole lines of a file that one process goes on writing; a torn last one is cut off the file.

    So the next line does not stand behind half a line.
    """
    data = path.read_bytes() if path.exists() else b""
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)
    return data[:end].decode("utf-8").split("\n")[:-1]


def lines_of(folder: Path, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the lines with these ids, each read at the byte its id names; those that are not there are left out."""
    places = sorted((found["file"], int(found["at"], 16), found[0]) for entry in ids if (found := _ID.fullmatch(entry)))
    lines = {}
    for name, group in groupby(places, key=itemgetter(0)):
        path = folder / f"{name}.jsonl"
        if not path.exists():
            continue
        with path.open("rb") as file:
            for _, at, line_id in group:
                file.seek(at)
                line = _parsed(file.readline())
                if line.get("id") == line_id:
                    lines[line_id] = line
    return lines


def _parsed(data: bytes) -> dict[str, Any]:
    """Return the object of a line; an empty one for a torn line."""
    try:
        line = json.loads(data)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
