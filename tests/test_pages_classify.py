"""The Classify page: empty, one text, a file in the background, the history."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from pathlib import Path

import pytest
from conftest import HUNG
from streamlit.testing.v1 import AppTest

from medbench import batch_jobs, batches, history, predicting
from medbench.batch_jobs import Job
from medbench.errors import MedbenchError
from medbench.evidence_sheet import faithful_words, marked
from medbench.records import ColumnMap, Explanation, Item, LabelScore, Span
from medbench.ui_classify import as_json, as_pdf, bars
from medbench.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
HEART = "Coronary stent after myocardial infarction: angina and ventricular arrhythmia in the heart"
MAPPING = ColumnMap(title="title", text="abstract", id="pmid")


@pytest.fixture
def full(trained: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, str]:
    """A copy of the workspace with a finished model, named by MEDBENCH_HOME; and the model's id."""
    root = tmp_path / "home"
    shutil.copytree(trained[0].data.parent, root)
    monkeypatch.setenv("MEDBENCH_HOME", str(root))
    monkeypatch.setattr("medbench.ui_evidence._PATIENCE", 60.0)  # however busy the machine is
    return Workspace.here(root), trained[1]


def open_page(tab: str = "One text", **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=HUNG)
    page.switch_page("pages/classify.py")
    page.session_state["classify_tab"] = tab
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def words(page: AppTest) -> str:
    """Everything the page says, as one text."""
    parts = [*page.markdown, *page.caption, *page.info, *page.error, *page.warning, *page.subheader]
    return "\n".join([str(part.value) for part in parts] + [str(html.body) for html in page.get("html")])


def healthy(page: AppTest) -> AppTest:
    assert not page.exception
    assert "Something went wrong" not in words(page)
    return page


def asked(title: str, text: str, model: str) -> AppTest:
    """The page after a text was classified."""
    page = open_page(model=model)
    page.text_input(key="classify_title").set_value(title)
    page.text_area(key="classify_text").set_value(text)
    page.button(key="classify_go").click().run()
    return healthy(page)


def dropped(folder: Path, rows: int = 30, name: str = "dropped.csv") -> Path:
    """A file as a user has it: hostile cells, an empty record, and one record per topic in turn."""
    topics = ("heart infarction stent angina", "tumour carcinoma biopsy lymphoma", "seizure stroke cortex migraine")
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["pmid", "title", "abstract", "remark"])
        for row in range(rows):
            text = "" if row == 3 else f"{topics[row % 3]} patients trial {row}"
            writer.writerow([str(700 + row), "" if row == 3 else f"<b>Study {row}</b>", text, "=1+1"])
    return path


def done(workspace: Workspace, model: str, path: Path) -> Job:
    """The job of a file, worked to its end."""
    with path.open("rb") as data:
        kept = batch_jobs.keep(workspace, data)
    job = batch_jobs.open_job(workspace, model, kept, path.name, MAPPING)
    job.go()
    job.wait(HUNG)
    assert job.problem is None
    return job


def test_the_example_is_classified_with_reasons(full: tuple[Workspace, str]) -> None:
    page = asked("", HEART, full[1])
    told = words(page)
    assert "✓ cardiology" in told
    assert '<mark class="mb-for"' in told and "Method: " in told
    assert "A set made to hold on average 90% of the true labels of all texts" in told.replace("\\", "")
    assert "no person is asked about" in told or "Every answer goes to a person" in told


def test_an_answer_equals_what_the_library_says(full: tuple[Workspace, str]) -> None:
    workspace, model = full
    page = asked("A title", HEART, model)
    item, answer, *_ = page.session_state["classify_answer"]
    assert answer == predicting.predict(predicting.load(workspace, model), [item])[0]
    assert item == Item("pasted", "A title", HEART)


def test_an_empty_text_is_told_in_words(full: tuple[Workspace, str]) -> None:
    page = asked("", "  ", full[1])
    assert "There is no text to classify" in page.warning[0].value
    assert not history.stamp(full[0])


def test_text_from_users_is_escaped(full: tuple[Workspace, str]) -> None:
    told = words(asked("<script>alert(1)</script>", f"<img src=x> {HEART}", full[1]))
    assert "&lt;script&gt;" in told and "<script>" not in told
    assert "<img" not in told


def test_a_text_seen_in_training_is_called_out(full: tuple[Workspace, str]) -> None:
    from medbench import datasets

    row = datasets.load(full[0], "planted").rows([0])[0]
    assert "Seen in training" in words(asked(row["title"], row["text"], full[1]))
    assert "Seen in training" not in words(asked("", HEART, full[1]))


def test_a_correction_goes_to_the_history_and_back(full: tuple[Workspace, str]) -> None:
    workspace, model = full
    page = asked("", HEART, model)
    page.session_state["classify_one_tabs"] = "Correct it"
    page.run()
    page.multiselect(key="classify_one_right").set_value(["oncology"])
    page.text_input(key="classify_one_note").set_value("read it")
    page.button(key="classify_one_keep").click().run()
    frame = history.read(workspace)
    assert [(list(labels), note) for labels, note in zip(frame["labels"], frame["note"], strict=True)] == [
        (["oncology"], "read it")
    ]
    healthy(page).button(key="classify_one_undo").click().run()
    assert [list(labels) for labels in history.read(workspace)["labels"]] == [["cardiology"]]


def test_similar_training_texts_are_shown(full: tuple[Workspace, str]) -> None:
    page = asked("", HEART, full[1])
    page.session_state["classify_one_tabs"] = "Similar training texts"
    assert words(healthy(page.run())).count("similarity 0.") == 5


def test_an_unknown_model_is_told_in_words(full: tuple[Workspace, str]) -> None:
    page = healthy(open_page(model="nobody"))
    assert "There is no model" in page.warning[0].value


def test_a_file_is_classified_corrected_and_goes_back_out(full: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = full
    job = done(workspace, model, dropped(tmp_path))
    assert (job.done, job.total, job.complete) == (30, 30, True)
    assert len(history.read(workspace)) == 30
    job.correct(5, ["neurology", "oncology"], "both")
    rows = list(csv.DictReader(io.StringIO(job.export().decode("utf-8-sig"))))
    assert [row["pmid"] for row in rows] == [str(700 + row) for row in range(30)]
    assert rows[5]["medbench_labels"] == "neurology;oncology"
    assert rows[0]["medbench_labels"] == "cardiology"
    assert rows[3]["medbench_labels"] == "" and "empty" in rows[3]["medbench_flags"]
    assert {row["remark"] for row in rows} == {"'=1+1"}
    job.undo(5)
    assert job.corrections() == {}
    assert json.loads(job.export("json_list"))[0]["medbench_model"] == model


def test_an_earlier_file_is_reopened_without_a_second_answer(full: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = full
    job = done(workspace, model, dropped(tmp_path))
    assert batch_jobs.reopen(workspace, job.id) is job
    # As after a restart of the app: another job for the same folder.
    again = Job(workspace, batches.open_batch(workspace, model, job.batch.source.path, job.name, MAPPING))
    again.go()
    again.wait(HUNG)
    assert again.complete and again.done == 30
    assert len(history.read(workspace)) == 30
    assert [entry["name"] for entry in batch_jobs.past(workspace)] == ["dropped.csv"]


class StopsAfterOneChunk(Job):
    """A job whose user presses Stop as soon as there is something to see."""

    def _told(self, done: int, total: int | None) -> None:
        super()._told(done, total)
        self.stop()


class StopsOnceWhileCounting(Job):
    """A job whose user presses Stop before the records are counted, and then lets it go on."""

    stops = 1

    def _say(self, sentence: str, at: int, of: int | None) -> None:
        super()._say(sentence, at, of)
        if of is None and self.stops:
            self.stops -= 1
            self.stop()


def test_stop_is_heard_while_records_are_counted(full: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = full
    path = dropped(tmp_path, rows=1_200)
    job = StopsOnceWhileCounting(workspace, batches.open_batch(workspace, model, path, path.name, MAPPING))
    job.go()
    job.wait(HUNG)
    assert (job.done, job.total, job.stopped, job.complete) == (0, None, True, False)
    job.go()
    job.wait(HUNG)
    assert (job.done, job.at, job.of, job.complete) == (1_200, 1_200, 1_200, True)
    assert len(job.history_ids) == 1_200


def test_a_stopped_file_keeps_what_is_done_and_goes_on(full: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = full
    path = dropped(tmp_path, rows=2_500)
    with path.open("rb") as data:
        kept = batch_jobs.keep(workspace, data)
    job = StopsAfterOneChunk(workspace, batches.open_batch(workspace, model, kept, path.name, MAPPING))
    job.go()
    job.wait(HUNG)
    assert (job.done, job.total, job.complete) == (1_000, 2_500, False)
    assert len(job.table()) == len(job.history_ids) == 1_000
    job.go()
    job.wait(HUNG)
    assert job.done == 2_000
    page = open_page("A file", model=model)
    page.session_state["classify_batch"] = job.id
    healthy(page.run())
    again = batch_jobs.reopen(workspace, job.id)
    assert again is not job and again.stopped  # whichever server opens it: it waits for its user
    assert "Stopped: 2,000 records answered and kept." in [said.value for said in page.info]
    page.button(key="classify_go_on").click().run()
    again.wait(HUNG)
    assert again.complete and again.done == 2_500 and not again.stopped
    assert '<div class="mb-value">2,500</div>' in words(healthy(page.run()))


def test_a_deleted_file_is_gone(full: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = full
    job = done(workspace, model, dropped(tmp_path))
    batch_jobs.delete(workspace, job.id)
    assert batch_jobs.past(workspace) == []
    assert not list((workspace.data / "batches" / "files").iterdir())
    with pytest.raises(MedbenchError, match="an earlier file"):
        batch_jobs.reopen(workspace, job.id)


def test_the_page_plans_and_shows_a_file(full: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = full
    page = open_page("A file", model=model)
    page.file_uploader(key="classify_file").upload("dropped.csv", dropped(tmp_path).read_bytes(), "text/csv").run()
    assert [box.value for box in healthy(page).selectbox[1:4]] == ["title", "abstract", "pmid"]
    page.button(key="classify_file_go").click().run()
    job = batch_jobs.reopen(workspace, healthy(page).session_state["classify_batch"])
    job.wait(HUNG)
    told = words(healthy(page.run()))
    assert "dropped.csv" in told.replace("\\", "")
    assert "Most doubtful first" in told
    assert '<div class="mb-fact">Answered</div><div class="mb-value">30</div>' in told


def test_an_empty_history_says_what_to_do(full: tuple[Workspace, str]) -> None:
    assert "Nothing has been classified yet" in words(healthy(open_page("History", model=full[1])))


def test_the_history_filters(full: tuple[Workspace, str]) -> None:
    asked("", HEART, full[1])
    page = healthy(open_page("History", model=full[1]))
    assert "Click a row to open it again." in words(page)
    page.selectbox(key="history_label").set_value("oncology").run()
    assert "No answer fits these filters." in words(healthy(page))
    page.selectbox(key="history_label").set_value("cardiology").run()
    assert "Click a row to open it again." in words(healthy(page))


def test_without_a_model_the_page_leads_to_training(home: Workspace) -> None:
    page = healthy(open_page())
    starters = list(home.shipped.glob("starter-*/model.json"))
    assert starters or "There is no model yet. Train one first." in words(page)


def test_marks_stand_where_they_belong_and_never_overlap() -> None:
    text = "a <heart> attack & a rash"
    start = text.index("heart")
    spans = [Span(start, start + 5, 0.5), Span(start + 2, start + 9, 0.4), Span(text.index("rash"), len(text), -0.25)]
    html = marked(text, spans)
    assert html.count("<mark") == html.count("</mark>") == 3
    assert ">heart</mark>" in html and "&lt;" in html and "&amp;" in html
    assert 'class="mb-against"' in html.split("rash")[0].rsplit("<mark", 1)[1]
    plain = html.replace("</mark>", "")
    while "<mark" in plain:
        before, _, rest = plain.partition("<mark")
        plain = before + rest.partition(">")[2]
    assert plain == "a &lt;heart&gt; attack &amp; a rash"


def test_bars_show_thresholds_and_escape_names() -> None:
    html = bars([LabelScore("x", "<i>x</i>", 0.999, 0.4, True), LabelScore("y", "y", 0.001, 0.25, False)])
    assert "✓ &lt;i&gt;x&lt;/i&gt;" in html and "&gt; 0.99" in html and "&lt; 0.01" in html
    assert "left: 40.0%" in html and "left: 25.0%" in html


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            0.5,
            "Without the marked words the score falls 0.50 more than without random ones: the marks drive the answer.",
        ),
        (-0.02, "The marked words matter no more than random ones (-0.02): do not lean on them."),
        (None, "How faithful the marks are was not measured."),
    ],
)
def test_faithfulness_is_said_in_words(value: float | None, sentence: str) -> None:
    reason = Explanation("x", "occlusion", (Span(0, 3, 1.0),), faithfulness=value)
    assert faithful_words(reason) == f"{sentence} Method: occlusion."


def test_downloads_hold_the_answer(full: tuple[Workspace, str]) -> None:
    workspace, model = full
    loaded = predicting.load(workspace, model)
    item = Item("1", "Ein Titel", HEART)
    pairs = [(item, predicting.predict(loaded, [item])[0])]
    stored = json.loads(as_json(pairs))
    assert stored["chosen"] == ["cardiology"] and stored["text"] == HEART
    assert as_pdf(loaded, pairs, {0: ["oncology"]}).startswith(b"%PDF")


def test_another_method_is_chosen_and_methods_are_compared(full: tuple[Workspace, str]) -> None:
    page = asked("", f"A trial in two groups. {HEART}. The outcome was the same.", full[1])
    assert "Fall without" in words(page) and "Deletion" in words(page)
    page.selectbox(key="classify_one_method").set_value("sentences").run()
    healthy(page)
    assert "Method: occlusion of sentences." in words(page)
    page.toggle(key="classify_one_compare").set_value(True).run()
    healthy(page)
    tables = [frame.value for frame in page.dataframe]
    methods = next(table for table in tables if "strongest" in table.columns)
    assert list(methods["method"])[1:] == ["occlusion", "occlusion of sentences"]
    agreement = next(table for table in tables if "" in table.columns)
    assert agreement.iloc[0, 1] == "1.00 · 100%"
    assert "How far they agree" in words(page)
    page.multiselect(key="classify_one_methods").set_value(["occlusion"]).run()
    assert "Choose two methods or more." in words(healthy(page))


def test_a_slow_explanation_shows_how_far_it_is_and_ends_when_stopped_or_left(
    full: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medbench import ui_evidence
    from medbench.families.keywords import KeywordModel
    from medbench.families.linear import LinearModel

    for kind in (KeywordModel, LinearModel):
        plain = kind.label_scores

        def slowly(self, texts, label, plain=plain):
            time.sleep(0.15)
            return plain(self, texts, label)

        monkeypatch.setattr(kind, "label_scores", slowly)
    monkeypatch.setattr(ui_evidence, "_PATIENCE", 0.1)
    page = asked("", HEART, full[1])
    page.selectbox(key="classify_one_method").set_value("shap").run()
    page.button(key="classify_one_one_stop").click().run()
    assert "Stopped." in words(healthy(page))
    page.button(key="classify_one_one_again").click().run()
    assert page.button(key="classify_one_one_stop")
    [left] = [job for asked, job in page.session_state["classify_reasons"].items() if asked[3] == "shap"]
    page.selectbox(key="classify_one_method").set_value("sentences").run()  # nobody waits for SHAP any more
    assert left.stopped


def test_every_record_of_a_file_gets_its_evidence(full: tuple[Workspace, str], tmp_path: Path) -> None:
    from medbench import explaining_jobs

    workspace, model = full
    job = done(workspace, model, dropped(tmp_path))
    assert explaining_jobs.evidence_of(job) == []
    page = open_page("A file", model=model)
    page.session_state["classify_batch"] = job.id
    page.run()
    page.button(key="classify_find_evidence").click().run()
    explaining_jobs.find_evidence(job).wait(HUNG)
    page.run()
    healthy(page)
    [table] = [frame.value for frame in page.dataframe if "strongest sentence" in frame.value.columns]
    assert set(table["id"]) == {str(700 + row) for row in range(30) if row != 3}
    assert len(explaining_jobs.evidence_of(job)) == 30 and explaining_jobs.evidence_of(job)[3] == []
    # A torn line is cut off and found anew; the rest is not.
    path = job.batch.folder / "evidence.jsonl"
    before = path.read_bytes()
    path.write_bytes(before[:-20])
    explaining_jobs.find_evidence(job).wait(HUNG)
    assert path.read_bytes() == before
    asked = explaining_jobs.study_methods(job, ("occlusion", "sentences"), 5)
    asked.wait(HUNG)
    assert asked.result is not None and asked.result.items == 5
    assert page.button(key="classify_study_go")


def test_a_search_for_evidence_that_was_stopped_keeps_what_it_has(full: tuple[Workspace, str], tmp_path: Path) -> None:
    from medbench import explaining_jobs

    job = done(full[0], full[1], dropped(tmp_path, rows=80))
    search = explaining_jobs.find_evidence(job)
    search.stop()
    search.wait(HUNG)
    found = len(explaining_jobs.evidence_of(job))
    assert found < 80
    explaining_jobs.find_evidence(job).wait(HUNG)
    assert len(explaining_jobs.evidence_of(job)) == 80
