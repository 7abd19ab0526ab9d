"""The event file: one line each, short lines, torn tails left for later."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from medbench.events import LINE_LIMIT, Say, last_event, read_events


def test_events_are_read_in_order_and_from_an_offset(tmp_path: Path) -> None:
    say = Say(tmp_path / "events.jsonl")
    say("created", spec={"family": "linear"})
    first, offset = read_events(tmp_path / "events.jsonl")
    say("progress", step=1)
    rest, end = read_events(tmp_path / "events.jsonl", offset)
    assert [event["kind"] for event in first] == ["created"]
    assert [event["kind"] for event in rest] == ["progress"]
    assert end == (tmp_path / "events.jsonl").stat().st_size


def test_a_torn_last_line_is_left_for_the_next_call(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    Say(path)("created")
    with path.open("ab") as file:
        file.write(b'{"t": 1, "kind": "prog')
    events, offset = read_events(path)
    assert [event["kind"] for event in events] == ["created"]
    assert last_event(path) == events[0]
    with path.open("ab") as file:
        file.write(b'ress"}\n')
    assert [event["kind"] for event in read_events(path, offset)[0]] == ["progress"]


def test_a_torn_line_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"t": 1, "kind": "a"}\n{"t": 2, "ki\n{"t": 3, "kind": "b"}\n')
    assert [event["kind"] for event in read_events(path)[0]] == ["a", "b"]


@given(st.text(max_size=9000), st.lists(st.text(max_size=300), max_size=60))
def test_every_line_stays_under_four_kibibytes(tmp_path_factory: object, text: str, rows: list[str]) -> None:
    say = Say(None)
    from medbench.events import _line

    line = _line({"t": 1.0, "kind": "mistakes", "text": text, "items": [{"text": row} for row in rows]})
    assert len(line) <= LINE_LIMIT
    assert json.loads(line)["kind"] == "mistakes"
    assert not say.stopping
