"""Jobs and who answers for them: promote, roll back, challenge, wherever a model id stands, and how two models fare."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from medbench import (
    aliases,
    api,
    appointing,
    contest,
    history,
    job_answers,
    job_history,
    predicting,
    promoting,
    shadowing,
)
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.records import Item
from medbench.workspace import Workspace, read_json, write_json

TEXT = "Myocardial infarction and angina in patients with coronary stent."
JOB = "literature-planted"


def twin(place: Workspace, model: str, name: str, **facts: object) -> str:
    """Copy a model under another id; `facts` change its card."""
    folder = place.models / name
    shutil.copytree(place.models / model, folder)
    write_json(folder / "model.json", {**read_json(folder / "model.json"), "id": name, "name": name, **facts})
    return name


def test_a_job_comes_into_being_with_its_first_champion(place: Workspace, first: str) -> None:
    job = appointing.promote(place, first, who="ann", why="the only one", figures={"micro_f1": 0.9})
    assert (job.name, job.alias, job.champion, job.earlier) == (JOB, f"@{JOB}", first, ())
    [move] = aliases.get(place, JOB).moves
    assert (move.act, move.model, move.before, move.who, move.why) == ("promote", first, "", "ann", "the only one")
    assert move.figures == {"micro_f1": 0.9} and move.at > 0
    assert aliases.resolve(place, f"@{JOB}") == first and aliases.resolve(place, first) == first
    assert predicting.load(place, f"@{JOB}").id == first


def test_rolling_back_goes_down_the_line_of_champions(place: Workspace, first: str) -> None:
    second, third = twin(place, first, "second"), twin(place, first, "third")
    for model in (first, second, third):
        appointing.promote(place, model)
    assert appointing.roll_back(place, JOB, why="worse").champion == second
    assert appointing.roll_back(place, JOB).champion == first
    with pytest.raises(MedbenchError, match="an earlier champion of @literature-planted, found none"):
        appointing.roll_back(place, JOB)
    appointing.promote(place, third)
    job = appointing.roll_back(place, JOB)
    assert job.champion == first
    assert [move.act for move in job.moves] == ["promote"] * 3 + ["roll back"] * 2 + ["promote", "roll back"]


def test_other_labels_need_a_job_of_their_own(place: Workspace, first: str) -> None:
    other = twin(place, first, "other", labels=["cardiology", "nephrology"])
    appointing.promote(place, first)
    with pytest.raises(MedbenchError, match=r"a model with the labels of @literature-planted.*--job NEW-NAME"):
        appointing.promote(place, other)
    assert aliases.get(place, JOB).champion == first
    assert appointing.promote(place, other, "kidneys").name == "kidneys"
    with pytest.raises(MedbenchError, match="an id of lower-case letters"):
        appointing.promote(place, other, "../x")


def test_what_is_gone_is_said_in_a_sentence(place: Workspace, first: str) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    appointing.challenge(place, second)
    shutil.rmtree(place.models / second)
    assert aliases.get_whole(place, JOB).challenger is None
    shutil.rmtree(place.models / first)
    with pytest.raises(MedbenchError, match=r"has been deleted. Promote another, or go back"):
        predicting.load(place, f"@{JOB}")
    with pytest.raises(MedbenchError, match=r"the name of a job, found '@nobody'. Jobs here: @literature-planted"):
        aliases.resolve(place, "@nobody")
    aliases.path_of(place).write_text('{"jobs": {"x": 1}}')
    with pytest.raises(MedbenchError, match="an undamaged list of jobs"):
        aliases.jobs(place)
    assert aliases.offered(place, {"a": {}}) == {"a": {}}


def test_a_share_is_drawn_by_the_item_and_grows_without_moving_anyone(place: Workspace, first: str) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    items = [f"Abstract {number}" for number in range(4000)]
    small = appointing.challenge(place, second, share=0.2)
    large = appointing.challenge(place, second, share=0.5)
    went = {item for item in items if small.answers(item) == second}
    assert went == {item for item in items if small.answers(item) == second}
    assert 0.17 < len(went) / len(items) < 0.23
    assert went < {item for item in items if large.answers(item) == second}
    parts = aliases.parts(large, items)
    assert sorted(at for places in parts.values() for at in places) == list(range(4000))
    with pytest.raises(MedbenchError, match="a share from 0 up to less than 1, found 1"):
        appointing.challenge(place, second, share=1)
    with pytest.raises(MedbenchError, match="another model than the champion"):
        appointing.challenge(place, first)
    assert appointing.promote(place, second).challenger is None  # it is the champion now
    assert appointing.withdraw(place, JOB).challenger is None


def _promote_often(root: Path, model: str, number: int) -> None:
    for at in range(5):
        appointing.promote(Workspace.here(root), model, f"job-{number}-{at}")


def test_writers_wait_for_each_other(place: Workspace, first: str) -> None:
    context = multiprocessing.get_context("fork")
    root = place.data.parent
    writers = [context.Process(target=_promote_often, args=(root, first, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(aliases.jobs(place)) == 15
    assert not list(place.models.glob(".aliases*"))


def test_a_shadow_is_kept_and_not_shown(place: Workspace, first: str) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    appointing.challenge(place, second)
    items = [Item(str(at), "", f"{TEXT} {at}") for at in range(4)] + [Item("empty", "", "")]
    answers, ids = job_answers.answer(place, JOB, items)
    assert [one.model for one in answers] == [first] * 5
    assert [bool(one) for one in ids] == [True] * 4 + [False]
    assert shadowing.finish(30)
    assert list(history.read(place)["model"]) == [first] * 4  # what a user sees
    asked = job_history.asked_of(place, JOB)
    assert [(one.model, one.unseen_by, one.right) for one in asked] == [(first, second, None)] * 4
    history.correct(place, ids[0], answers[0].chosen)
    history.correct(place, ids[1], ["oncology"])
    fared = contest.fared(place, aliases.get(place, JOB))
    assert fared is not None and fared.paired
    assert (fared.agreement.count, fared.agreement.n) == (4, 4)
    assert [(one.count, one.n) for one in fared.right] == [(1, 2), (1, 2)]
    assert (fared.parted, fared.p) == ((0, 0), 1.0)
    assert any("same labels to 100%" in sentence for sentence in fared.sentences())


def test_a_share_of_the_items_is_judged_by_what_readers_say(place: Workspace, first: str) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    job = appointing.challenge(place, second, share=0.4)
    items = [Item(str(at), "", f"{TEXT} {at}") for at in range(40)]
    answers, ids = job_answers.answer(place, JOB, items)
    assert [one.model for one in answers] == [job.answers(item.joined) for item in items]
    theirs = [at for at, one in enumerate(answers) if one.model == second]
    for at, one in enumerate(answers):
        history.correct(place, ids[at], ["oncology"] if at in theirs else one.chosen)
    fared = contest.fared(place, job)
    assert fared is not None and not fared.paired and fared.agreement.n == 0
    assert fared.shown == (40 - len(theirs), len(theirs))
    assert [one.value for one in fared.right] == [1.0, 0.0]
    told = fared.sentences(lambda one: {first: "First", second: "Second"}[one])
    assert any(one.startswith("First is right more often than Second by 100.0 points (") for one in told)
    assert any("a real difference" in sentence for sentence in told)


def test_what_a_contest_says_of_p_and_of_who_was_shown() -> None:
    right = (contest.share(40, 60), contest.share(20, 60))
    found = contest.Contest("A", "B", (60, 0), contest.share(40, 60), right, True, (20, 0), 1.9e-6)
    (told,) = (one for one in found.sentences() if "Of the same items" in one)
    assert "(p < .001): a real difference" in told and "which favours A" in told


def test_intervals_agree_with_worked_tables() -> None:
    # Newcombe (1998), example a: 56/70 against 48/80 differ by .2, 95 % interval .0524 to .3339 (method 10).
    value, low, high = contest.difference(contest.share(48, 80), contest.share(56, 70))
    assert (value, low, high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    # Wilson's interval of 81 in 263 as in Newcombe (1998): .2553 to .3662.
    one = contest.share(81, 263)
    assert (one.low, one.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def answering(place: Workspace, model: str, name: str, wrong: float) -> str:
    """Leave a twin that gave wrong answers to a share of the test items."""
    path = place.models / twin(place, model, name) / "judged.npz"
    kept = dict(np.load(path))
    kept["decided"] = kept["truth"].copy()
    spoilt = slice(0, round(wrong * len(kept["truth"])))
    kept["decided"][spoilt] = np.roll(kept["truth"], 1, axis=1)[spoilt]
    np.savez_compressed(path, **kept)
    return name


def test_a_worse_candidate_needs_a_confirmation_and_its_figures_are_kept(place: Workspace, first: str) -> None:
    good, even, bad = (answering(place, first, *each) for each in (("good", 0.0), ("even", 0.0), ("bad", 0.8)))
    assert promoting.check(place, good).verdict == "first"
    promoting.promote(place, good)
    same = promoting.check(place, even)
    assert (same.verdict, same.difference, same.warns) == ("even", 0.0, False)
    worse = promoting.check(place, bad)
    assert (worse.verdict, worse.warns, worse.metric) == ("worse", True, "micro_f1")
    assert (
        worse.high is not None
        and worse.high < 0
        and worse.items == len(np.load(place.models / bad / "judged.npz")["truth"])
    )
    assert f"on the same {worse.items} test items" in worse.sentence
    for share in (0.05, 0.1, 0.15, 0.2, 0.3):  # one rule with the Compare page: the permutation test at 5 %
        told = promoting.check(place, answering(place, first, f"bad{share}", share))
        assert told.p is not None and (told.verdict == "worse") == (told.p < 0.05)
    run = CliRunner()
    refused = run.invoke(app, ["promote", bad])
    assert refused.exit_code == 2 and "It is worse than good" in refused.stderr and "--anyway" in refused.stderr
    assert aliases.get(place, JOB).champion == good
    done = run.invoke(app, ["promote", bad, "--anyway", "--why", "to see", "--who", "ann", "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["check"]["verdict"] == "worse"
    move = aliases.get(place, JOB).moves[-1]
    assert (move.who, move.why, move.figures["verdict"]) == ("ann", "to see", "worse")
    assert move.figures["low"] < move.figures["difference"] < move.figures["high"] < 0
    assert promoting.check(place, good).verdict == "better"
    back = run.invoke(app, ["rollback", JOB])
    assert back.exit_code == 0 and f"@{JOB}  champion {good}" in back.stdout


def test_what_cannot_be_compared_is_said(place: Workspace, first: str) -> None:
    promoting.promote(place, first)
    card = read_json(place.models / first / "model.json")
    other = twin(place, first, "other", dataset={**card["dataset"], "id": "elsewhere"})
    unsealed = twin(place, first, "unsealed")
    kept = dict(np.load(place.models / unsealed / "judged.npz"))
    np.savez_compressed(place.models / unsealed / "judged.npz", **{**kept, "split": np.array("out-of-fold")})
    starter = twin(place, first, "starter-x")
    (place.models / starter / "judged.npz").unlink()
    for model in (other, unsealed, starter):  # all learnt from the rows that the champion was judged on
        found, words = promoting.check(place, model), "learnt from" if model != other else "elsewhere"
        assert (found.verdict, found.warns) == ("unknown", True) and words in found.sentence, found.sentence
        with pytest.raises(MedbenchError, match=r"known to be no worse than the champion.*cannot be told"):
            promoting.promote(place, model)
    assert promoting.promote(place, other, anyway=True)[0].champion == other


def test_a_job_answers_on_the_command_line_and_over_http(place: Workspace, first: str) -> None:
    appointing.promote(place, first)
    run = CliRunner()
    told = run.invoke(app, ["predict", f"@{JOB}", "--text", TEXT, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["model"] == first
    client = TestClient(api.mounted(place))
    given = client.post("/api/predict", json={"model": f"@{JOB}", "items": [{"text": TEXT}], "evidence": True}).json()
    assert given["predictions"][0]["model"] == first and given["predictions"][0]["evidence"]
    assert client.post("/api/explain", json={"model": f"@{JOB}", "item": {"text": TEXT}}).status_code == 200
    assert client.get(f"/api/models/@{JOB}").json()["id"] == first
    [listed] = client.get("/api/aliases").json()
    assert (listed["alias"], listed["champion"]) == (f"@{JOB}", first)
    assert len(job_history.asked_of(place, JOB)) == 2
    again = run.invoke(app, ["challenge", first, "--job", JOB])
    assert again.exit_code == 2 and "another model than the champion" in again.stderr
    second = twin(place, first, "second")
    assert run.invoke(app, ["challenge", second, "--job", JOB, "--share", "0.25"]).exit_code == 0
    shown = run.invoke(app, ["aliases"]).stdout
    assert f"@{JOB}  champion {first}, challenger second (25% of what is asked)" in shown
    assert run.invoke(app, ["withdraw", JOB]).exit_code == 0
    gone = run.invoke(app, ["rollback", JOB])
    assert gone.exit_code == 2 and "an earlier champion" in gone.stderr
