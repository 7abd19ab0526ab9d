"""The history: what was said, corrected, taken back and deleted; several writers; torn lines; many predictions."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import HUNG

from medbench import history
from medbench.errors import MedbenchError
from medbench.records import Item, LabelScore, Prediction
from medbench.workspace import Workspace


def told(number: int, *, model: str = "first", probability: float = 0.8, needs_human: bool = False) -> Prediction:
    labels = (
        LabelScore("heart", "Heart diseases", probability, 0.5, probability >= 0.5),
        LabelScore("brain", "Brain diseases", 0.1, 0.5, False),
    )
    return Prediction(f"pmid{number}", model, labels, needs_human=needs_human, doubt=0.25, unlike=needs_human, cut=0.1)


def item(number: int) -> Item:
    return Item(f"pmid{number}", f"Title {number} β", f"The Whole text of {number}.")


def keep(place: Workspace, count: int, **facts: object) -> list[str]:
    numbers = range(count)
    return history.record(place, [told(number, **facts) for number in numbers], [item(number) for number in numbers])


def test_an_empty_history_reads_as_an_empty_frame_with_all_columns(workspace: Workspace) -> None:
    empty = history.read(workspace, texts=True)
    keep(workspace, 1)
    assert len(empty) == 0
    assert list(empty.columns) == list(history.read(workspace, texts=True).columns)
    assert history.record(workspace, [], []) == []


def test_a_prediction_comes_back_with_all_its_facts(workspace: Workspace) -> None:
    before = datetime.now(UTC)
    [name] = history.record(workspace, [told(7, needs_human=True)], [item(7)])
    row = history.read(workspace, texts=True).iloc[0].to_dict()
    assert before - timedelta(seconds=1) <= row.pop("t") <= datetime.now(UTC)
    assert row == {
        "id": name,
        "model": "first",
        "item": "pmid7",
        "title": "Title 7 β",
        "chosen": ["heart"],
        "top": "heart",
        "probability": 0.8,
        "doubt": 0.25,
        "needs_human": True,
        "unlike": True,
        "cut": 0.1,
        "problem": "",
        "labels": ["heart"],
        "corrected": False,
        "note": "",
        "who": "",
        "text": "The Whole text of 7.",
    }
    assert history.reopen(workspace, name) == item(7)


def test_newest_first_and_limited(workspace: Workspace) -> None:
    keep(workspace, 5)
    assert history.read(workspace)["item"].tolist() == [f"pmid{number}" for number in (4, 3, 2, 1, 0)]
    assert history.read(workspace, limit=2)["item"].tolist() == ["pmid4", "pmid3"]
    assert len(history.read(workspace, limit=None)) == 5


def test_an_answer_without_labels_is_kept_with_its_problem(workspace: Workspace) -> None:
    nothing = Prediction("x", "first", (), needs_human=True, doubt=1.0, problem="There is no text to classify.")
    history.record(workspace, [nothing], [Item("x", "", "")])
    row = history.read(workspace).iloc[0]
    assert (row["chosen"], row["problem"]) == ([], "There is no text to classify.")


def test_corrections_stack_and_are_taken_back_one_by_one(workspace: Workspace) -> None:
    name, other = keep(workspace, 2)

    def now() -> tuple[list[str], str, str, bool]:
        row = history.read(workspace).set_index("id").loc[name]
        return row["labels"], row["note"], row["who"], bool(row["corrected"])

    history.correct(workspace, name, ["brain"], "read the abstract", "ann")
    assert now() == (["brain"], "read the abstract", "ann", True)
    history.correct(workspace, name, [], "neither")
    assert now() == ([], "neither", "", True)
    history.undo(workspace, name)
    assert now() == (["brain"], "read the abstract", "ann", True)
    history.undo(workspace, name)
    history.undo(workspace, name)  # nothing left to take back
    assert now() == (["heart"], "", "", False)
    history.correct(workspace, name, ["brain"])
    assert now() == (["brain"], "", "", True)
    assert history.read(workspace, corrected=True)["id"].tolist() == [name]
    assert history.read(workspace, corrected=False)["id"].tolist() == [other]


def test_filters(workspace: Workspace) -> None:
    keep(workspace, 2)
    second = keep(workspace, 3, model="second", needs_human=True, probability=0.3)
    history.correct(workspace, second[0], ["brain"])
    assert len(history.read(workspace, model="first")) == 2
    assert len(history.read(workspace, label="heart")) == 2
    assert history.read(workspace, label="brain")["id"].tolist() == [second[0]]
    assert len(history.read(workspace, doubtful=True)) == 3
    assert len(history.read(workspace, doubtful=False)) == 2
    assert history.read(workspace, search="WHOLE TEXT OF 1")["item"].tolist() == ["pmid1", "pmid1"]
    assert history.read(workspace, search="title 2 Β", model="second")["item"].tolist() == ["pmid2"]
    assert len(history.read(workspace, search="'; DROP TABLE history; --")) == 0


def test_times(workspace: Workspace) -> None:
    keep(workspace, 1)
    middle = time.time()
    time.sleep(0.01)
    keep(workspace, 2)
    today = datetime.now(UTC).date()
    assert len(history.read(workspace, since=middle)) == 2
    assert len(history.read(workspace, until=middle)) == 1
    assert len(history.read(workspace, since=today, until=today)) == 3
    assert len(history.read(workspace, until=today - timedelta(days=1))) == 0
    assert len(history.read(workspace, since=datetime.fromtimestamp(middle, UTC).replace(tzinfo=None))) == 2


def test_texts_are_not_kept_when_the_user_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBENCH_KEEP_TEXT", "0")
    assert not history.keeps_text()
    [name] = keep(workspace, 1)
    assert history.reopen(workspace, name) == Item("pmid0", "", "")
    written = "".join(path.read_text() for path in workspace.history.rglob("*.jsonl"))
    assert "Whole" not in written
    assert "Title" not in written
    assert history.read(workspace, texts=True)["text"].tolist() == [""]


def test_torn_lines_cost_only_themselves(workspace: Workspace) -> None:
    names = keep(workspace, 2)
    [path] = workspace.history.glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + '{"v": 1, "kind": "prediction", "title": "β'.encode()[:-1])
    assert len(history.read(workspace)) == 2
    later = keep(workspace, 1)
    assert history.read(workspace)["id"].tolist() == [*later, *reversed(names)]
    history.correct(workspace, later[0], ["brain"])
    assert history.reopen(workspace, later[0]).id == "pmid0"
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line)["kind"] for line in (lines[0], lines[3])] == ["prediction", "prediction"]


def test_lines_of_a_later_version_are_read_as_far_as_known(workspace: Workspace) -> None:
    keep(workspace, 1)
    line = {"v": 9, "kind": "prediction", "id": "x", "t": time.time(), "item": "new", "chosen": ["a"], "mood": "fine"}
    (workspace.history / "other-1-1-20991231.jsonl").write_text(json.dumps(line) + "\n")
    assert set(history.read(workspace)["item"]) == {"pmid0", "new"}


@pytest.mark.parametrize(
    "name", ["", "nonsense", "../../etc/passwd-20260101-0-00000000", "host-1-1-20260101-0-00000000"]
)
def test_an_unknown_id_is_told(workspace: Workspace, name: str) -> None:
    keep(workspace, 1)
    for act in (lambda: history.correct(workspace, name, []), lambda: history.undo(workspace, name)):
        with pytest.raises(MedbenchError) as caught:
            act()
        assert caught.value.expected == "the id of a prediction in the history"
        assert caught.value.found == repr(name)


def test_an_id_is_not_taken_for_another_after_deletion(workspace: Workspace) -> None:
    [old] = keep(workspace, 1)
    assert history.delete_all(workspace) > 100
    assert len(history.read(workspace)) == 0
    assert history.delete_all(workspace) == 0
    [new] = keep(workspace, 1)
    assert old != new
    with pytest.raises(MedbenchError):
        history.correct(workspace, old, ["brain"])


def test_the_stamp_changes_with_every_write(workspace: Workspace) -> None:
    stamps = [history.stamp(workspace)]
    [name] = keep(workspace, 1)
    stamps.append(history.stamp(workspace))
    history.correct(workspace, name, [])
    stamps.append(history.stamp(workspace))
    history.delete_all(workspace)
    assert stamps[0] == history.stamp(workspace)
    assert len(set(stamps)) == 3


def test_threads_and_processes_write_at_once(workspace: Workspace) -> None:
    program = (
        "import sys; from pathlib import Path; from medbench import history; from medbench.workspace import Workspace;"
        "from medbench.records import Item, Prediction; place = Workspace.here(Path(sys.argv[1]));"
        "[history.record(place, [Prediction('p', 'm', ())], [Item('p', '', 'x' * 3000)]) for _ in range(50)]"
    )
    others = [subprocess.Popen([sys.executable, "-c", program, str(workspace.data.parent)]) for _ in range(2)]
    threads = [threading.Thread(target=lambda: [keep(workspace, 5) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(HUNG) for process in others] == [0, 0]
    frame = history.read(workspace, texts=True, limit=None)
    assert len(frame) == frame["id"].nunique() == 4 * 20 * 5 + 2 * 50
    assert set(frame["text"]) == {item(number).text for number in range(5)} | {"x" * 3000}
    assert len(list(workspace.history.glob("*.jsonl"))) == 3


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(MedbenchError, match="a folder that can be written"):
        keep(Workspace.here(tmp_path), 1)


def test_of_many_predictions_as_many_as_asked_for_are_read(workspace: Workspace) -> None:
    for _ in range(10):
        keep(workspace, 2000)
    assert len(history.read(workspace, label="heart", limit=1000)) == 1000
