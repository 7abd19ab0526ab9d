"""The Review page: begin, read by button, undo, settle, progress, take out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from conftest import HUNG, until
from pages_at_work import make_dataset, opened, words_on
from streamlit.testing.v1 import AppTest

from medbench import datasets, review, review_trials
from medbench.review import Review
from medbench.workspace import Workspace

PAGE = "pages/review.py"


def begun(home: Workspace, folder: Path, labels: tuple[str, ...] = ("heart",), readers: int = 1) -> Review:
    plan = review.create(home, make_dataset(home, folder), "Hearts", labels, question="cardiac rhythm", readers=readers)
    return review.load(home, plan.id)


def as_reader(held: Review, who: str = "ab", tab: str = "Read") -> AppTest:
    app = opened(PAGE, review=held.plan.id)
    app.session_state["review_tab"] = tab
    app.session_state["review_who"] = who
    app.run()
    assert not app.exception
    assert not app.error
    return app


def test_an_empty_workspace_offers_to_begin(home: Workspace) -> None:
    app = opened(PAGE)
    assert "No review yet" in words_on(app)
    assert app.title[0].value == "Review"


def test_a_review_begins_on_a_dataset(home: Workspace, tmp_path: Path) -> None:
    dataset = make_dataset(home, tmp_path, labelled=False)
    app = opened(PAGE)
    app.text_input(key="review_name").set_value("Airways")
    app.text_area(key="review_question").set_value("breath and airway")
    next(button for button in app.button if button.label == "Begin").click().run()
    assert not app.exception
    (plan,) = review.list_reviews(home)
    assert (plan.name, plan.dataset, plan.labels) == ("Airways", dataset, ("include",))
    assert "Type your initials" in words_on(app)


def test_reading_undoing_and_noting(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path)
    app = as_reader(held)
    first = app.session_state["review_now"][2].record
    app.text_input(key=f"review_note_{first}").set_value("clear case")
    app.button(key="review_key_Y").click().run()
    (decision,) = held.journal.standing().decisions
    assert (decision.record, decision.labels, decision.note, decision.who) == (first, ("heart",), "clear case", "ab")
    assert app.session_state["review_now"][2].record != first
    assert app.text_input(key=f"review_note_{app.session_state['review_now'][2].record}").value == ""
    app.button(key="review_key_N").click().run()
    app.button(key="review_key_U").click().run()
    app.button(key="review_key_S").click().run()
    assert [one.verdict for one in held.journal.standing().decisions] == ["read", "read", "unsure", "skip"]
    skipped = held.journal.standing().decisions[-1].record
    app.button(key="review_key_Z").click().run()
    assert len(held.journal.standing().decisions) == 3
    assert app.session_state["review_now"][2].record == skipped
    assert not app.exception
    held.ranker.wait(HUNG)


def test_several_labels_are_put_on_and_kept(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path, ("heart", "lung"))
    app = as_reader(held)
    app.button(key="review_label_1").click().run()
    app.button(key="review_label_2").click().run()
    app.button(key="review_label_1").click().run()
    app.button(key="review_key_Y").click().run()
    assert held.journal.standing().decisions[0].labels == ("lung",)
    assert app.button(key="review_label_2").label.startswith("⬜")
    held.ranker.wait(HUNG)


def test_a_disagreement_is_settled(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path, readers=2)
    held.journal.decide(5, "read", ["heart"], "ab", note="rhythm")
    held.journal.decide(5, "read", [], "cd")
    app = as_reader(held, "boss", "Settle")
    assert "1 record waits" in words_on(app)
    assert "rhythm" in words_on(app)
    app.button_group(key="review_settle_5").set_value(["heart"]).run()
    app.button(key="review_settle_go").click().run()
    assert held.journal.standing().answers == {5: ("heart",)}
    assert "Nothing waits to be settled" in words_on(app)
    app.button(key="review_unsettle").click().run()
    assert "1 record waits; 0 records are settled." in words_on(app)
    assert app.button(key="review_unsettle").disabled
    app.button_group(key="review_settle_5").set_value(["heart"]).run()
    app.button(key="review_settle_go").click().run()
    assert "1 record is settled." in words_on(app)
    held.ranker.wait(HUNG)


def test_progress_advice_sample_and_agreement(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path, readers=2)
    assert "Nothing is read yet" in words_on(as_reader(held, tab="Progress and stopping"))
    for record in range(56):
        relevant = ["heart"] if "cardiac" in held.texts[record] else []
        held.journal.decide(record, "read", relevant, "ab")
        if record < 12:
            held.journal.decide(record, "read", [] if record == 3 else relevant, "cd")
    app = as_reader(held, tab="Progress and stopping")
    shown = words_on(app)
    assert "found in 55 of 60 records" in shown  # record 3 is not settled
    assert "that so few would have come lately" in shown
    statistics = list(app.dataframe[0].value["statistic"])
    assert statistics == ["Krippendorff's α", "Cohen's κ"]
    app.button(key="review_draw").click().run()
    assert not app.exception
    assert len(held.journal.standing().samples[0].records) == 4


def test_a_drawn_record_that_a_reader_is_unsure_of_waits_under_settle(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path)
    for record in range(40):
        held.journal.decide(record, "read", [], "ab")
    held.draw("ab", 10, np.random.default_rng(0))
    first, *others = held.journal.standing().samples[0].records
    assert "10 of the 10 drawn records are unread" in words_on(as_reader(held, tab="Progress and stopping"))
    held.journal.decide(first, "unsure", [], "ab")
    for record in others:
        held.journal.decide(record, "read", [], "ab")
    app = as_reader(held, tab="Progress and stopping")
    assert "Under “Settle” still: 1 drawn record;" in words_on(app) and "come first under" not in words_on(app)
    assert app.button(key="review_draw")
    held.journal.settle(first, [], "boss")
    told = words_on(as_reader(held, tab="Progress and stopping"))
    assert "nothing relevant is known, so recall has no value yet" in told and "nan" not in told.lower().split()
    held.ranker.wait(HUNG)


def test_answers_become_a_dataset(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path)
    assert "Nothing is read yet" in words_on(as_reader(held, tab="Export"))
    for record in range(30):
        held.journal.decide(record, "read", ["heart"] if "cardiac" in held.texts[record] else [], "ab")
    app = as_reader(held, tab="Export")
    app.button(key="review_make").click().run()
    assert not app.exception
    card = datasets.load(home, app.session_state["review_made"]).card
    assert (card["name"], card["n_labelled"]) == ("Hearts, read", 30)


def test_a_review_is_deleted_and_brought_back(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path)
    app = opened(PAGE, review=held.plan.id)
    app.button(key="review_delete").click().run()
    assert not app.exception
    assert review.list_reviews(home) == []
    told = words_on(app)
    assert "Deleted “Hearts”." in told and "No review yet" in told
    app.button(key="review_restore").click().run()
    assert not app.exception
    assert [plan.id for plan in review.list_reviews(home)] == [held.plan.id]
    assert app.selectbox(key="review_chosen").value == held.plan.id
    assert "Deleted “Hearts”." not in words_on(app)


def test_a_deleted_review_is_removed_for_good(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path)
    review.delete(home, held.plan.id)
    app = opened(PAGE)
    assert "Deleted: 1 review" in [box.label for box in app.expander]
    app.button(key=f"review_purge_{held.plan.id}").click().run()
    assert not app.exception
    assert review.list_deleted(home) == [] and not [box for box in app.expander if box.label.startswith("Deleted")]


def test_behind_a_deleted_review_comes_the_next(home: Workspace, tmp_path: Path) -> None:
    held = begun(home, tmp_path)
    newer = review.create(home, held.plan.dataset, "Lungs", ["lung"])
    app = opened(PAGE)
    assert app.selectbox(key="review_chosen").value == newer.id
    app.button(key="review_delete").click().run()
    assert app.selectbox(key="review_chosen").value == held.plan.id and not app.exception


def test_a_simulation_runs_behind_the_page_and_shows_its_curve(home: Workspace, tmp_path: Path) -> None:
    assert "No labelled dataset of texts yet" in words_on(opened(PAGE, review="simulate"))
    make_dataset(home, tmp_path)
    app = opened(PAGE, review="simulate")
    app.number_input(key="trial_starts").set_value(2)
    app.button(key="trial_go").click().run()
    assert not app.exception and not app.error
    (trial,) = review_trials.list_trials(home)
    assert (trial.asked.label, trial.asked.strategy, trial.asked.starts) == ("heart", "certainty", 2)
    until(lambda: not review_trials.get(home, trial.id).alive)
    app.run()
    assert "of the reading (" in words_on(app) and "2 starts)" in words_on(app)
    assert list(app.dataframe[0].value["start"]) == [1, 2]
    app.button(key="trial_delete").click().run()
    assert not app.exception and review_trials.list_trials(home) == []
