"""Challengers beside the champion wherever a job is asked: files, notes, photographs; page, command line and REST."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path

import pytest
from conftest import HUNG, ROOT, planted_csv
from drawn_pictures import encoded
from pages_at_work import opened, words_on
from starlette.testclient import TestClient
from test_aliases import JOB, TEXT, twin
from tiny_lesions import LABELS, lesion
from typer.testing import CliRunner

from medbench import (
    aliases,
    api,
    appointing,
    batch_jobs,
    coding_history,
    coding_jobs,
    contest,
    history,
    job_answers,
    job_history,
    predicting,
    shadowing,
)
from medbench.cli import app
from medbench.code_sheet import Act, CodeSheet
from medbench.job_history import Asked
from medbench.records import Item
from medbench.workspace import Workspace

NOTE = "Assessment: lobar pneumonia. He denies chest pain. Essential hypertension. Type 2 diabetes mellitus."


def test_the_answer_that_is_shown_does_not_wait_for_the_unseen_one(place: Workspace, first: str) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    appointing.challenge(place, second)
    busy = predicting.load(place, second).lock
    with busy:  # the challenger is at work on something else
        answers, _ = job_answers.answer(place, JOB, [Item("a", "", TEXT)])
        assert answers[0].model == first and not shadowing.finish(0.3)
        assert [one.unseen_by for one in job_history.asked_of(place, JOB)] == [""]
    assert shadowing.finish(30)
    assert [one.unseen_by for one in job_history.asked_of(place, JOB)] == [second]


def test_a_challenger_that_is_gone_stops_nothing(place: Workspace, first: str) -> None:
    second, third = twin(place, first, "second"), twin(place, first, "third")
    appointing.promote(place, first)
    job = appointing.challenge(place, second)
    shutil.rmtree(place.models / second)
    shadowing.ask(place, job, ["x"], [Item("a", "", TEXT)])
    appointing.challenge(place, third)
    job_answers.answer(place, JOB, [Item("a", "", TEXT)])
    assert shadowing.finish(30)
    assert [one.unseen_by for one in job_history.asked_of(place, JOB)] == [third]


# --- files -----------------------------------------------------------------------------------------------------


def test_a_file_on_the_page_is_answered_by_one_model_and_unseen_by_the_other(
    place: Workspace, first: str, tmp_path: Path
) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    appointing.challenge(place, second)
    with planted_csv(tmp_path / "some.csv", 40, seed=5).open("rb") as data:
        path = batch_jobs.keep(place, data)
    work = batch_jobs.open_job(place, f"@{JOB}", path, "some.csv")
    work.go()
    work.wait(HUNG)
    assert work.complete and work.problem is None and shadowing.finish(60)
    asked = job_history.asked_of(place, JOB)
    assert len(asked) == 40 and {(one.model, one.unseen_by) for one in asked} == {(first, second)}
    assert len({one.together for one in asked}) == 1
    work.correct(0, ["oncology"], "")
    for at in range(1, 6):
        work.correct(at, work.batch.prediction(at).chosen, "")
    fared = contest.fared(place, aliases.get(place, JOB))
    assert fared is not None and fared.paired and fared.agreement.count == 40
    assert [(one.count, one.n) for one in fared.right] == [(5, 6), (5, 6)]
    assert fared.right[0].high - fared.right[0].low > contest.share(5, 6).high - contest.share(5, 6).low  # one file

    appointing.withdraw(place, JOB)
    again = batch_jobs.reopen(place, work.id)
    assert again.batch.job == f"@{JOB}" and again.batch.loaded.id == first
    again.go()
    again.wait(HUNG)
    assert len(job_history.asked_of(place, JOB)) == 40  # once
    direct = batch_jobs.open_job(place, first, path, "some.csv")
    assert direct.id != work.id and direct.batch.job == ""


def test_a_share_takes_whole_files(place: Workspace, first: str, tmp_path: Path) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    appointing.challenge(place, second, share=0.5)
    models = []
    for seed in range(8):
        file, out = planted_csv(tmp_path / f"{seed}.csv", 6, seed), tmp_path / f"{seed}-out.csv"
        done = CliRunner().invoke(app, ["predict", f"@{JOB}", str(file), "--out", str(out), "--json"])
        assert done.exit_code == 0, done.output
        models.append(json.loads(done.stdout)["answered_by"])
        assert out.read_text().count(f",{models[-1]},") == 6
    assert set(models) == {first, second}
    asked = job_history.asked_of(place, JOB)
    assert len(asked) == 48 and len({(one.together, one.model) for one in asked}) == 8


def test_the_command_line_has_the_challenger_answer_after_the_file_is_written(
    place: Workspace, first: str, tmp_path: Path
) -> None:
    second = twin(place, first, "second")
    appointing.promote(place, first)
    appointing.challenge(place, second)
    file, out = planted_csv(tmp_path / "some.csv", 8, 3), tmp_path / "out.csv"
    done = CliRunner().invoke(app, ["predict", f"@{JOB}", str(file), "--out", str(out)])
    assert done.exit_code == 0 and f"The challenger of @{JOB} now answers the same items, unseen" in done.stderr
    assert [one.unseen_by for one in job_history.asked_of(place, JOB)] == [second] * 8
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.csv"]
    told = CliRunner().invoke(app, ["predict", f"@{JOB}", "--text", TEXT])
    assert told.exit_code == 0 and not shadowing.waiting()
    assert len(job_history.asked_of(place, JOB)) == 9


# --- photographs -----------------------------------------------------------------------------------------------


@pytest.fixture
def lesions(trained_lesions: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of the workspace with the tiny network, a twin of it, and a job that both may answer."""
    root = tmp_path / "home"
    shutil.copytree(trained_lesions[0].data.parent, root)
    monkeypatch.setenv("MEDBENCH_HOME", str(root))
    place = Workspace.here(root)
    appointing.promote(place, trained_lesions[1], "moles")
    appointing.challenge(place, twin(place, trained_lesions[1], "second"), "moles")
    return place


def test_photographs_over_http_are_answered_unseen_too_and_forgotten(
    lesions: Workspace, trained_lesions: tuple[Workspace, str]
) -> None:
    files = [("files", (f"{at}.jpg", encoded(lesion(LABELS[at], at)), "image/jpeg")) for at in range(3)]
    client = TestClient(api.mounted(lesions))
    told = client.post("/api/lesion/predict", data={"model": "@moles", "age": "50"}, files=files).json()
    assert [one["model"] for one in told["predictions"]] == [trained_lesions[1]] * 3
    assert shadowing.finish(60)
    asked = job_history.asked_of(lesions, "moles")
    assert [(one.unseen_by, one.chosen == one.unseen) for one in asked] == [("second", True)] * 3
    assert not [path for path in (lesions.data / "uploads").rglob("*") if path.is_file()]
    ids = list(history.read(lesions, pictures=True)["id"])
    for name in ids:
        history.correct(lesions, name, ["mel"])
    fared = contest.fared(lesions, aliases.get(lesions, "moles"))
    assert fared is not None and fared.right[0].n == 3 and fared.overlap is None  # one label each


def test_the_lesions_page_asks_the_job_for_one_picture_and_for_many(
    lesions: Workspace, trained_lesions: tuple[Workspace, str]
) -> None:
    page = opened("pages/lesion.py", model="@moles")
    assert page.selectbox(key="lesion_model").value == "@moles"
    pictures = [(f"{at}.jpg", encoded(lesion(LABELS[at], 40 + at)), "image/jpeg") for at in range(2)]
    page.get("file_uploader")[0].set_value(pictures[:1]).run()
    assert not page.exception and shadowing.finish(60)
    assert [one.unseen_by for one in job_history.asked_of(lesions, "moles")] == ["second"]
    appointing.challenge(lesions, "second", "moles", share=0.99)
    page.get("file_uploader")[0].set_value(pictures).run()
    assert not page.exception and "Answered by second, which is tried for a share" in words_on(page)
    asked = job_history.asked_of(lesions, "moles")[1:]
    assert [one.model for one in asked] == ["second"] * 2 and len({one.together for one in asked}) == 1


def test_a_folder_of_pictures_on_the_command_line(lesions: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for at in range(3):
        (folder / f"{at}.jpg").write_bytes(encoded(lesion(LABELS[at], at)))
    (folder / "torn.jpg").write_bytes(b"torn")
    out = tmp_path / "answers.csv"
    done = CliRunner().invoke(app, ["predict", "@moles", str(folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "3 pictures answered, 1 refused" in done.stdout and "now answers the same items, unseen" in done.stderr
    asked = job_history.asked_of(lesions, "moles")
    assert [(one.unseen_by, one.chosen == one.unseen) for one in asked] == [("second", True)] * 3


# --- notes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def coders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with the shipped coder and a twin in its shadow."""
    root = tmp_path / "home"
    monkeypatch.setenv("MEDBENCH_HOME", str(root))
    place = Workspace.here(root)
    place.data.mkdir(parents=True)
    shutil.copytree(ROOT / "models" / "starter-icd", place.models / "starter-icd")
    appointing.promote(place, "starter-icd", "codes")
    appointing.challenge(place, twin(place, "starter-icd", "second"), "codes")
    return place


def test_a_settled_note_says_who_was_right(coders: Workspace) -> None:
    coded = coding_jobs.code(coders, NOTE, "@codes")
    assert coded.model == "starter-icd" and coded.kept and coded.answer is not None and shadowing.finish(60)
    [asked] = job_history.asked_of(coders, "codes")
    assert (asked.unseen_by, asked.unseen, asked.right) == ("second", asked.chosen, None)
    given = [one.code.label for one in coded.proposals if one.code.label in coded.answer.chosen]
    sheet = CodeSheet(proposed=tuple(one.code.label for one in coded.proposals))
    for label in given[1:]:
        sheet = sheet.act(Act("accept", label))
    coding_jobs.keep(coders, coded, sheet, "ann")
    assert job_history.asked_of(coders, "codes")[0].right is None  # one code is still open
    whole = sheet.act(Act("reject", given[0])).act(Act("add", "icd10cm:Y93.01"))
    coding_jobs.keep(coders, coded, whole, "ann")
    assert job_history.asked_of(coders, "codes")[0].right == frozenset(given[1:])  # walking is no code of the model
    fared = contest.fared(coders, aliases.get(coders, "codes"))
    assert fared is not None and fared.paired and fared.right[0].n == 1
    coding_jobs.keep(coders, coded, sheet, "ann")  # undone
    assert job_history.asked_of(coders, "codes")[0].right is None
    last = coding_history.last_of(coders, NOTE)
    assert last is not None and last.answer == coded.kept
    assert coding_jobs.code(coders, NOTE, "@codes", again=last.answer).kept == coded.kept
    assert len(job_history.asked_of(coders, "codes")) == 1


def test_notes_over_http_on_the_command_line_and_on_the_page(coders: Workspace) -> None:
    client = TestClient(api.mounted(coders))
    assert client.post("/api/icd/predict", json={"text": NOTE, "model": "@codes"}).json()["model"] == "starter-icd"
    sent = {"file": ("note.txt", io.BytesIO(NOTE.encode()), "text/plain")}
    assert client.post("/api/icd/predict/file", data={"model": "@codes"}, files=sent).status_code == 200
    done = CliRunner().invoke(app, ["predict", "@codes", "--text", NOTE, "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["model"] == "starter-icd"
    page = opened("pages/icd.py", model="@codes")
    page.text_area(key="icd_text").set_value(NOTE)
    page.button(key="icd_go").click().run()
    assert not page.exception and page.session_state["icd_coded"][0].kept
    assert "as it was before your last change" not in words_on(page)
    assert shadowing.finish(60)
    asked = job_history.asked_of(coders, "codes")
    assert [one.unseen_by for one in asked] == ["second"] * 4 and len({one.together for one in asked}) == 1
    appointing.challenge(coders, "second", "codes", share=0.99)
    told = client.post("/api/icd/predict", json={"text": NOTE + " Gout.", "model": "@codes"}).json()
    assert told["model"] == "second" and any("tried for a share of the notes" in one for one in told["remarks"])


# --- how they fare ---------------------------------------------------------------------------------------------


def said(together: str, chosen: str, unseen: str, right: str) -> Asked:
    return Asked(0.0, "a", frozenset(chosen), "b", frozenset(unseen), frozenset(right), together)


def test_overlap_and_p_of_a_worked_table() -> None:
    rows = [said("1", "xy", "x", "x"), said("2", "x", "x", "xyz"), said("3", "", "", ""), said("4", "x", "z", "z")]
    found = contest.overlap_of(rows)  # a: 1/2, 1/3, 1, 0; b: 1, 1/3, 1, 1
    assert found.champion == pytest.approx(11 / 24) and found.challenger == pytest.approx(10 / 12)
    assert found.difference == pytest.approx(3 / 8) and found.low >= 0 and found.low < 3 / 8 < found.high <= 1
    assert contest.apart(rows) == ((0, 2), pytest.approx(0.5))  # two independent items: p = 2 / 2²
    together = [said("one file", "xy", "x", "x")] * 10
    assert contest.apart(together) == ((0, 10), 1.0)  # ten of one file prove no more than one would
    assert math.isnan(contest.overlap_of(together).low)
