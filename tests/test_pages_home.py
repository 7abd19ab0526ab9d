"""Home on an empty workspace, with a dataset, and with a finished run: it always names the one next step."""

from __future__ import annotations

from pathlib import Path

from pages_at_work import make_dataset, opened, words_on

from medbench import runs
from medbench.records import RunSpec
from medbench.runs import Run
from medbench.ui_home import Stock, next_step
from medbench.workspace import Workspace


def test_an_empty_workspace_names_the_first_step(home: Workspace) -> None:
    app = opened()
    assert not app.error
    assert app.title[0].value == "medbench"
    button = app.button(key="home_next")
    assert button.label in ("Add a dataset", "Classify an abstract now")  # the second where starters are shipped
    assert "Research use. Not a medical device." in words_on(app)
    assert "Begin with a file" in words_on(app) or "Paste an abstract" in words_on(app)


def test_the_first_step_leads_somewhere(home: Workspace) -> None:
    app = opened()
    app.button(key="home_next").click().run()
    assert not app.exception
    assert app.title[0].value in ("Datasets", "Classify")


def test_a_dataset_asks_for_training(home: Workspace, tmp_path: Path) -> None:
    dataset_id = make_dataset(home, tmp_path)
    app = opened()
    assert not app.error
    assert app.button(key="home_next").label == "Train a model"
    assert "“cohorts” has labels to learn from" in words_on(app)
    assert "60 rows · 3 labels" in words_on(app)
    app.button(key="home_next").click().run()
    assert app.title[0].value == "Train"
    assert app.selectbox(key="train_dataset").value == dataset_id


def test_a_finished_run_asks_for_classifying(home: Workspace, tmp_path: Path) -> None:
    dataset_id = make_dataset(home, tmp_path)
    spec = RunSpec(task="literature", family="keywords", dataset=dataset_id, name="first try")
    run_id = runs.start(home, spec)
    kinds = [event["kind"] for event in runs.follow(home, run_id)]
    assert kinds[-1] == "finished"
    app = opened()
    assert not app.error
    assert app.button(key="home_next").label == "Classify with it"
    assert "first try" in words_on(app)
    assert "finished" in words_on(app)


def test_a_living_run_comes_first() -> None:
    run = runs.Run("20260101-000000-a-0000", "running", {"name": "night run"}, 0.0)
    step = next_step(Stock([], [run], ["older-model"], []))
    assert (step.label, step.query) == ("Watch it", {"run": run.id})
    assert "night run" in step.sentence


def test_only_starters_lead_to_classifying() -> None:
    step = next_step(Stock([], [], [], ["starter-domains"]))
    assert (step.label, step.query) == ("Classify an abstract now", {"model": "starter-domains"})


def test_every_model_is_offered_where_it_answers() -> None:
    lesion = Run("a", "finished", {"task": "lesion"}, 0.0, {}, "a")
    assert next_step(Stock([], [lesion], ["a"], [])).path == "pages/lesion.py"
    assert next_step(Stock([], [], ["b"], [])).path == "pages/classify.py"
    starters = ["starter-icd", "starter-lesion", "starter-literature-domains"]
    assert next_step(Stock([], [], [], starters)).query == {"model": "starter-literature-domains"}


def test_unlabelled_data_is_not_offered_for_training() -> None:
    step = next_step(Stock([{"id": "x", "name": "x", "n_labelled": 0}], [], [], ["starter-domains"]))
    assert step.path == "pages/classify.py"
