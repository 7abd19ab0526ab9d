"""A run speaks through one append-only file, `events.jsonl`: one JSON object a line, each under 4 KiB."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LINE_LIMIT = 4096
_TAIL = 64 * 1024


@dataclass
class Say:
    """What a worker and a family say while they work, and where they hear that they should stop.

    Calling it appends one event. `stopping` is set when the user cancels; a long fit looks at it between steps.
    With `path` None the events are only kept in `said` (for fits inside a test or a page).
    """

    path: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    said: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, kind: str, **fields: Any) -> None:
        """Append the event `kind` with its fields. Long string values are shortened until the line fits."""
        event = {"t": round(time.time(), 3), "kind": kind, **fields}
        if self.path is None:
            self.said.append(event)
            return
        data = _line(event)
        # One write of one short line in append mode: a reader sees all of it or none of it.
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)

    @property
    def stopping(self) -> bool:
        """True once the user asked the run to stop."""
        return self.stop.is_set()


def _line(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, ensure_ascii=False).encode() + b"\n"
    limit = LINE_LIMIT
    while len(data) > LINE_LIMIT:
        limit //= 2
        event = {key: _shorten(value, limit) for key, value in event.items()}
        data = json.dumps(event, ensure_ascii=False).encode() + b"\n"
    return data


def _shorten(value: Any, limit: int) -> Any:
    if isinstance(value, str) and len(value) > limit:
        return value[: max(limit - 1, 1)] + "…"
    if isinstance(value, list):
        return [_shorten(entry, limit) for entry in value[: max(limit // 16, 1)]]
    if isinstance(value, dict):
        return {key: _shorten(entry, limit) for key, entry in list(value.items())[: max(limit // 16, 1)]}
    return value


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the events from byte `offset` on.

    Returns:
        The events and the offset to ask from next time. A torn last line is left for the next call; a torn line in
        the middle (a full disk) is passed over.
    """
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [event for line in whole.splitlines() if (event := _parsed(line))], offset + len(whole)


def last_event(path: Path) -> dict[str, Any] | None:
    """Return the newest whole event, reading only the end of the file; None when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    return next((event for line in reversed(lines) if (event := _parsed(line))), None)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return event if isinstance(event, dict) and "kind" in event else None
