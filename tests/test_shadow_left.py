"""What a stopped server leaves for a challenger, the next one answers; what it cannot is counted; twice is once."""

from __future__ import annotations

import json

import pytest
from test_aliases import JOB, TEXT, twin

from medbench import aliases, appointing, contest, history, job_answers, job_history, predicting, shadowing
from medbench.job_answers import Turn, mark_of
from medbench.records import Item
from medbench.workspace import Workspace

TEXTS = [f"{TEXT} Patient {number}." for number in range(40)]


def left(place: Workspace, model: str, texts: list[str], together: str = "") -> list[str]:
    """Answer as the champion does and ask no challenger: what a server leaves that is killed at this moment."""
    items = [Item(str(at), "", text) for at, text in enumerate(texts)]
    given = predicting.predict(predicting.load(place, model), items)
    job = aliases.get(place, JOB)
    turns = [Turn(model, job, together or mark_of(text)) for text in texts]
    return [
        job_answers.record(place, told, [item], [answer])[0]
        for told, item, answer in zip(turns, items, given, strict=True)
    ]


@pytest.fixture
def second(place: Workspace, first: str) -> str:
    """The challenger of a job whose champion is `first`."""
    appointing.promote(place, first)
    model = twin(place, first, "second")
    appointing.challenge(place, model)
    return model


def fared(place: Workspace) -> contest.Contest:
    found = contest.fared(place, aliases.get(place, JOB))
    assert found is not None
    return found


def test_the_next_server_answers_what_the_last_one_left(place: Workspace, first: str, second: str) -> None:
    left(place, first, TEXTS)
    assert fared(place).owed == (40, 0)
    assert "second has still to answer for 40 of them" in fared(place).sentences()[1]
    shadowing.go_on(place)
    shadowing.go_on(place)  # a second server that starts at once
    assert shadowing.finish(60)
    asked = job_history.asked_of(place, JOB)
    assert [one.unseen_by for one in asked] == [second] * 40 and fared(place).owed == (0, 0)
    lines = [json.loads(line) for path in place.history.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert sum(line["kind"] == "shadow" for line in lines) == 40


def test_what_was_asked_before_the_trial_is_nobodys_debt(place: Workspace, first: str) -> None:
    appointing.promote(place, first)
    left(place, first, TEXTS[:3])
    appointing.challenge(place, twin(place, first, "second"))
    assert fared(place).owed == (0, 0)
    shadowing.go_on(place)
    assert shadowing.finish(30) and {one.unseen_by for one in job_history.asked_of(place, JOB)} == {""}


def test_texts_that_are_not_kept_are_counted_as_lost(
    place: Workspace, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBENCH_KEEP_TEXT", "0")
    left(place, first, TEXTS[:5])
    shadowing.go_on(place)
    assert shadowing.finish(30) and fared(place).owed == (0, 5)
    assert "For 5 of them it has no answer" in fared(place).sentences()[1]


def test_two_answers_to_one_item_count_once(place: Workspace, first: str, second: str) -> None:
    ids = left(place, first, TEXTS[:2])
    unseen = predicting.predict(predicting.load(place, second), [Item("0", "", text) for text in TEXTS[:2]])
    for _ in range(2):  # two servers went on with the same
        job_history.shadow(place, ids, unseen, JOB)
    assert len(job_history.asked_of(place, JOB)) == 2 and fared(place).agreement.n == 2


def test_a_text_that_is_sent_again_and_again_is_one_case(place: Workspace, first: str, second: str) -> None:
    ids = [left(place, first, [TEXT], together=f"file {number}")[0] for number in range(50)]
    ids += left(place, first, TEXTS[:1], together="another file")
    shadowing.go_on(place)
    assert shadowing.finish(60)
    for name in ids:
        history.correct(place, name, ["cardiology"])
    found = fared(place)
    assert found.shown[0] == 51 and found.agreement.n == 2 and found.right[0].n == found.right[1].n == 2
    alone = contest.share(found.right[0].count, 2)
    assert (found.right[0].low, found.right[0].high) == pytest.approx((alone.low, alone.high))
