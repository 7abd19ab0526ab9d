"""A review at work: decisions that survive, two readers at once, disagreements, samples, and what comes next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import HUNG, import_planted
from pages_at_work import make_dataset

from medbench import datasets, review
from medbench.errors import MedbenchError
from medbench.review import Review
from medbench.review_decisions import Journal, held_by_others
from medbench.workspace import Workspace


@pytest.fixture
def begun(workspace: Workspace, tmp_path: Path) -> Review:
    """A review of sixty records for one label, nothing read."""
    dataset = make_dataset(workspace, tmp_path)
    plan = review.create(workspace, dataset, "Heart", ["heart"], question="cardiac ventricle rhythm")
    return review.load(workspace, plan.id)


def truth(held: Review, record: int) -> list[str]:
    return ["heart"] if "cardiac" in held.texts[record] else []


def test_a_plan_comes_back_as_it_was(workspace: Workspace, begun: Review) -> None:
    assert review.list_reviews(workspace) == [begun.plan]
    assert review.load(workspace, begun.plan.id) is begun
    assert len(begun) == 60


def test_all_that_is_wrong_is_said_at_once(workspace: Workspace, tmp_path: Path) -> None:
    dataset = make_dataset(workspace, tmp_path)
    with pytest.raises(MedbenchError) as error:
        review.create(workspace, dataset, " ", [], family="encoder", strategy="luck", readers=0)
    for part in ("name is empty", "no label", "'encoder'", "'luck'", "0 readers"):
        assert part in error.value.found
    with pytest.raises(MedbenchError, match="id of a review"):
        review.load(workspace, "nothing-1234")


def test_reading_by_the_ranking_finds_the_heart_first(begun: Review) -> None:
    begun.learn()
    begun.ranker.wait(HUNG)
    found = []
    for _ in range(20):
        ahead = begun.next("ab", "certainty")
        assert ahead is not None
        found.append(bool(truth(begun, ahead.record)))
        begun.journal.decide(ahead.record, "read", truth(begun, ahead.record), "ab", why=ahead.why)
        begun.learn()
        begun.ranker.wait(HUNG)
    assert sum(found) == 20  # the question ranks from the first record on
    advice = begun.advice(begun.journal.standing(), "heart")
    assert (advice.total, advice.read, advice.found) == (60, 20, 20)


def test_the_first_record_comes_before_anything_is_learnt(begun: Review) -> None:
    assert begun.ranker.current is None
    first = begun.next("ab")
    assert first is not None
    assert first.why == "order"


def test_undo_takes_back_ones_own_last_act_only(begun: Review) -> None:
    log = begun.journal
    log.decide(3, "read", ["heart"], "ab")
    log.decide(4, "read", [], "cd")
    log.decide(5, "unsure", [], "ab")
    assert log.undo("ab") == 5
    assert log.undo("ab") == 3
    assert log.undo("ab") is None
    assert [one.record for one in log.standing().decisions] == [4]
    log.decide(4, "read", ["heart"], "cd")  # a changed mind
    assert log.standing().answers == {4: ("heart",)}


def test_nobody_decides_without_a_name(begun: Review) -> None:
    with pytest.raises(MedbenchError, match="reader's initials"):
        begun.journal.decide(1, "read", [], " ")


def test_two_readers_at_once_get_different_records(begun: Review) -> None:
    first = begun.next("ab")
    assert first is not None
    begun.journal.open(first.record, "ab")
    second = begun.next("cd")
    assert second is not None
    assert second.record != first.record
    later = begun.next("cd", now=time.time() + 700)  # the first reader went home
    assert later is not None
    assert later.record == first.record
    again = begun.next("ab")
    assert again is not None
    assert again.record == first.record


def test_a_skipped_record_is_free_for_others_and_comes_last_for_oneself(begun: Review) -> None:
    begun.journal.decide(7, "skip", [], "ab")
    for record in set(range(60)) - {7}:
        begun.journal.decide(record, "read", [], "ab")
    mine, other = begun.next("ab"), begun.next("cd")
    assert mine is not None
    assert other is not None
    assert (mine.record, mine.why, other.record) == (7, "skipped", 7)
    begun.journal.decide(7, "read", [], "cd")
    assert begun.next("cd") is None


def test_double_reading_disagreement_and_its_settlement(workspace: Workspace, tmp_path: Path) -> None:
    dataset = make_dataset(workspace, tmp_path)
    plan = review.create(workspace, dataset, "Double", ["heart", "lung"], readers=2)
    held = review.load(workspace, plan.id)
    log = held.journal
    log.decide(1, "read", ["heart"], "ab")
    second = held.next("cd")
    assert second is not None
    assert (second.record, second.why) == (1, "second")
    log.decide(1, "read", ["heart", "lung"], "cd")
    log.decide(2, "read", ["lung"], "ab")
    log.decide(2, "read", ["lung"], "cd")
    log.decide(3, "unsure", [], "ab")
    standing = log.standing()
    assert standing.answers == {2: ("lung",)}  # a tie on "lung" leaves record 1 open
    assert standing.disagreements == (1, 3)
    log.settle(1, ["heart"], "boss", "the lung is only mentioned")
    standing = log.standing()
    assert standing.answers == {1: ("heart",), 2: ("lung",)}
    assert standing.disagreements == (3,)
    assert log.undo("boss") == 1
    assert log.standing().disagreements == (1, 3)
    log.decide(1, "read", ["heart"], "ef")
    assert log.standing().answers[1] == ("heart",)  # two of three


def test_the_second_reader_has_a_record_as_soon_as_the_first_is_through(workspace: Workspace, tmp_path: Path) -> None:
    plan = review.create(workspace, make_dataset(workspace, tmp_path), "Double", ["heart"], readers=2)
    held = review.load(workspace, plan.id)
    held.journal.open(1, "ab")
    assert 1 in held_by_others(held.journal.standing(), "cd")
    held.journal.decide(1, "read", ["heart"], "ab")
    second = held.next("cd")
    assert second is not None
    assert (second.record, second.why) == (1, "second")
    assert held.waiting(held.journal.standing()) == (1,)
    held.journal.undo("ab")  # it is before them again
    assert held.waiting(held.journal.standing()) == ()
    assert 1 in held_by_others(held.journal.standing(), "cd")


def test_labels_that_are_there_can_count_as_read(workspace: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(workspace, tmp_path, rows=60)
    plan = review.create(workspace, dataset, "Known", ["oncology"], begin_labelled=True)
    held = review.load(workspace, plan.id)
    assert len(held.given) == 60
    assert held.next("ab") is None
    known = held.known(held.journal.standing())
    assert len(known) == 60
    assert 0 < known.truth.sum() < 60


def test_a_random_sample_is_read_first_and_estimates_recall(begun: Review, rng: np.random.Generator) -> None:
    hearts = [record for record in range(60) if truth(begun, record)]
    for record in hearts[:15]:
        begun.journal.decide(record, "read", ["heart"], "ab")
    assert begun.sampled(begun.journal.standing(), "heart") is None
    assert begun.draw("ab", 20, rng) == 20
    with pytest.raises(MedbenchError, match="last sample"):
        begun.draw("ab", 20, rng)
    while (ahead := begun.next("ab")) is not None and ahead.why == "sample":
        begun.journal.decide(ahead.record, "read", truth(begun, ahead.record), "ab", why="sample")
    told = begun.sampled(begun.journal.standing(), "heart")
    assert told is not None
    assert (told.urn, told.sampled) == (45, 20)
    assert told.low <= (15 + told.hits) / len(hearts) <= told.high


def test_two_processes_write_and_all_read(begun: Review) -> None:
    code = (
        "import sys; from pathlib import Path; from medbench.review_decisions import Journal\n"
        "log = Journal(Path(sys.argv[1]))\n"
        "for record in range(20): log.decide(record, 'read', ['heart'], 'other')\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(begun.journal.folder)])
    for record in range(20, 40):
        begun.journal.decide(record, "read", [], "ab")
    assert other.wait(HUNG) == 0
    standing = begun.journal.standing()
    assert sorted(one.record for one in standing.decisions) == list(range(40))
    assert len(list(begun.journal.folder.glob("*.jsonl"))) == 2


def test_what_was_decided_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from medbench.review_decisions import Journal\n"
        "log = Journal(Path(sys.argv[1]))\n"
        "for record in range(10**6):\n"
        "    log.decide(record, 'read', ['x'], 'ab'); print(record, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().split()]
    process.wait(10)
    kept = [one.record for one in Journal(tmp_path).standing().decisions]
    assert kept[: len(said)] == said


def test_torn_and_foreign_lines_are_passed_over(begun: Review) -> None:
    begun.journal.decide(1, "read", ["heart"], "ab")
    (path,) = begun.journal.folder.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(json.dumps({"v": 9, "kind": "dream", "id": "x", "t": 1.0, "who": "ab"}).encode() + b"\n")
        file.write(b'{"kind": "decide", "rec')
    assert [one.record for one in begun.journal.standing().decisions] == [1]
    begun.journal.decide(2, "read", [], "ab")
    assert [one.record for one in begun.journal.standing().decisions] == [1, 2]
    assert [one.record for one in Journal(begun.journal.folder).standing().decisions] == [1, 2]


def test_a_deleted_review_comes_back_as_it_was(workspace: Workspace, begun: Review) -> None:
    begun.journal.decide(3, "read", ["heart"], "ab")
    review.delete(workspace, begun.plan.id)
    assert review.list_reviews(workspace) == [] and review.list_deleted(workspace) == [begun.plan]
    with pytest.raises(MedbenchError, match=r"a review that is there, found one that was deleted"):
        begun.journal.decide(4, "read", [], "ab")  # in another window, where it was still open
    with pytest.raises(MedbenchError, match=r"the id of a review, found .* Begin one first\."):
        review.load(workspace, begun.plan.id)
    review.restore(workspace, begun.plan.id)
    (decision,) = review.load(workspace, begun.plan.id).journal.standing().decisions
    assert (decision.record, decision.labels, decision.who) == (3, ("heart",), "ab")
    assert review.list_deleted(workspace) == []


def test_what_is_deleted_for_good_leaves_nothing(workspace: Workspace, begun: Review) -> None:
    with pytest.raises(MedbenchError, match="the id of a deleted review"):
        review.delete_for_good(workspace, begun.plan.id)  # only after it was deleted
    review.delete(workspace, begun.plan.id)
    review.delete_for_good(workspace, begun.plan.id)
    assert [path for path in workspace.reviews.rglob("*") if path.is_file()] == []


def test_a_dataset_that_a_review_reads_is_not_deleted(workspace: Workspace, begun: Review) -> None:
    with pytest.raises(MedbenchError, match=rf"found 1 review \({begun.plan.id}\)\. Delete that review first\."):
        datasets.delete(workspace, begun.plan.dataset)
    review.delete(workspace, begun.plan.id)
    datasets.delete(workspace, begun.plan.dataset)
    with pytest.raises(MedbenchError, match="dataset"):
        review.restore(workspace, begun.plan.id)
    assert [plan.id for plan in review.list_deleted(workspace)] == [begun.plan.id]
