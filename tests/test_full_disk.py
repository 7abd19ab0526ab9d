"""A full disk: one sentence at every door, nothing half-written, nothing lost."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from test_aliases import JOB, twin

from medbench import aliases, api, appointing, batch_jobs
from medbench.errors import FullDiskError, MedbenchError, full_disk
from medbench.workspace import Workspace

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@needs_full
def test_a_full_disk_is_told_in_one_sentence() -> None:
    with pytest.raises(OSError, match="No space left") as caught, FULL.open("wb", buffering=0) as full:
        full.write(b"x")
    told = full_disk(caught.value)
    assert str(told) == "Expected room on the disk, found a full one. Free some space, then try again."
    assert full_disk(OSError(13, "Permission denied")) is None and full_disk(ValueError("28")) is None


@needs_full
def test_history_that_cannot_be_written_is_507_over_http(place: Workspace, first: str) -> None:
    from medbench import journal

    appointing.promote(place, first)
    place.history.mkdir(parents=True, exist_ok=True)
    (place.history / "texts").mkdir(exist_ok=True)
    (place.history / "texts" / f"{journal.stem()}.jsonl").symlink_to(FULL)
    client = TestClient(api.mounted(place))
    answer = client.post("/api/predict", json={"model": f"@{JOB}", "items": [{"text": "Angina."}]})
    assert answer.status_code == 507 and answer.json()["expected"] == "room on the disk"
    assert client.post("/api/predict", json={"model": first, "items": [{"text": "Angina."}]}).status_code == 200


class _Torn(io.BytesIO):
    """A dropped file whose reading ends in a full disk."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(28, "No space left on device")


def test_a_dropped_file_leaves_nothing_on_a_full_disk(place: Workspace) -> None:
    with pytest.raises(FullDiskError):
        batch_jobs.keep(place, _Torn())
    assert list((place.data / "batches" / "files").iterdir()) == []
    kept = batch_jobs.keep(place, io.BytesIO(b"id,title\n1,a\n"))
    assert kept.read_bytes() == b"id,title\n1,a\n" and list(kept.parent.iterdir()) == [kept]


def test_what_a_killed_writer_left_is_cleared_by_the_next(place: Workspace, first: str) -> None:
    appointing.promote(place, first)
    half = place.models / ".aliases.json.killed"
    half.write_text('{"jobs": {"literature')
    second = twin(place, first, "second")
    assert appointing.promote(place, second, JOB).champion == second and not half.exists()
    assert json.loads(aliases.path_of(place).read_text())["jobs"][JOB]["champion"] == second
    with pytest.raises(MedbenchError):
        appointing.promote(place, second, JOB)
