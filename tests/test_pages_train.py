"""The Train page, drawn empty, full, and through a real run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import HUNG, until
from streamlit.testing.v1 import AppTest

from medbench import datasets, runs
from medbench.events import Say
from medbench.families import families_for
from medbench.records import RunSpec, TuneSpec
from medbench.runs import Run
from medbench.ui_train_run import Told, share_of
from medbench.workspace import Workspace, read_json, write_json

ROOT = Path(__file__).resolve().parent.parent


def open_page(tab: str = "New run", **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=HUNG)
    page.switch_page("pages/train.py")
    page.session_state["train_tab"] = tab
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def words(page: AppTest) -> str:
    """Everything the page says, as one text."""
    parts = [*page.markdown, *page.caption, *page.info, *page.error, *page.warning, *page.subheader, *page.title]
    return "\n".join([str(part.value) for part in parts] + [str(html.body) for html in page.get("html")])


def healthy(page: AppTest) -> AppTest:
    assert not page.exception
    assert "Something went wrong" not in words(page)
    return page


@pytest.fixture
def full(trained: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, str, Run]:
    """A copy of the workspace with a dataset and a finished run of `linear`, named by MEDBENCH_HOME."""
    place, run = trained
    root = tmp_path / "home"
    shutil.copytree(place.data.parent, root)
    monkeypatch.setenv("MEDBENCH_HOME", str(root))
    copy = Workspace.here(root)
    return copy, str(datasets.list_datasets(copy)[0]["id"]), runs.get(copy, run)


def test_an_empty_workspace_says_what_to_do(home: Workspace) -> None:
    page = healthy(open_page())
    assert "There is no dataset yet. Add labelled texts first." in words(page)


def test_an_empty_list_of_runs_says_what_to_do(home: Workspace) -> None:
    assert "There is no run yet." in words(healthy(open_page("Runs")))


def test_the_form_shows_the_number_to_beat(full: tuple[Workspace, str, Run]) -> None:
    page = healthy(open_page())
    told = words(page)
    assert "The number to beat" in told
    assert "Always the most frequent label" in told and "Keywords learnt from the rows" in told
    assert "Nothing stands against it" in told
    assert page.radio(key="train_family").value == "linear"
    assert not page.button(key="train_start").disabled


def test_the_command_follows_the_form(full: tuple[Workspace, str, Run]) -> None:
    page = open_page()
    page.number_input(key="train_option_linear_C").set_value(0.37)
    page.number_input(key="train_seed").set_value(7)
    page.text_input(key="train_name").set_value("mine").run()
    command = healthy(page).code[0].value
    assert command == (
        f"medbench train --task literature --family linear --dataset {full[1]} name=mine seed=7 options.C=0.37"
    )


def test_every_familys_form_gives_its_defaults(full: tuple[Workspace, str, Run]) -> None:
    page = open_page()
    suited = families_for("text", "many")
    names = [family.name for family in suited if not family.for_codes]
    assert {"keywords", "linear"} <= set(names)
    assert page.radio(key="train_family").options == [family.title for family in suited if family.name in names]
    for name in names:
        page.radio(key="train_family").set_value(name).run()
        command = healthy(page).code[0].value
        assert f"--family {name}" in command
        assert "options." not in command


def test_members_are_chosen_among_the_models_of_the_dataset(full: tuple[Workspace, str, Run]) -> None:
    place, _, run = full
    page = open_page()
    page.radio(key="train_family").set_value("ensemble").run()
    assert "Expected at least 2 models of this dataset to combine, found 1 that could join." in words(healthy(page))
    assert page.button(key="train_start").disabled
    shutil.copytree(place.model(run.id), place.model("second"))
    card = read_json(place.model("second") / "model.json")
    write_json(place.model("second") / "model.json", {**card, "id": "second", "run": "second", "name": "Another"})
    page.number_input(key="train_seed").set_value(1).run()  # what was checked a moment ago is not checked again
    members = healthy(page).multiselect(key="train_option_ensemble_members")
    assert len(members.options) == 2 and any(words.startswith("Another · Linear") for words in members.options)
    members.set_value([run.id, "second"]).run()
    assert f'options.members=["{run.id}", "second"]' in healthy(page).code[0].value
    assert "Nothing stands against it" in words(page) and not page.button(key="train_start").disabled


def test_a_member_from_yaml_that_is_not_here_is_named(full: tuple[Workspace, str, Run]) -> None:
    page = open_page()
    text = f"task: literature\nfamily: ensemble\ndataset: {full[1]}\noptions:\n  members: [gone, {full[2].id}]\n"
    page.text_area(key="train_yaml_text").set_value(text).run()
    page.button(key="train_yaml_fill").click().run()
    members = healthy(page).multiselect(key="train_option_ensemble_members")
    assert "gone (not a model of this dataset)" in members.options
    assert any("the id of a model as a member of the ensemble, found 'gone'" in error.value for error in page.error)


def test_the_form_is_filled_from_yaml(full: tuple[Workspace, str, Run]) -> None:
    page = open_page()
    text = "task: literature\nfamily: linear\ndataset: planted\nseed: 5\noptions:\n  loss: logistic\n  C: 3.5\n"
    page.text_area(key="train_yaml_text").set_value(text).run()
    page.button(key="train_yaml_fill").click().run()
    command = healthy(page).code[0].value
    assert command.endswith(f"--dataset {full[1]} seed=5 'options.loss=\"logistic\"' options.C=3.5")


def test_a_search_is_asked_for_and_its_trials_are_shown(full: tuple[Workspace, str, Run]) -> None:
    place, dataset, _ = full
    page = open_page()
    page.toggle(key="train_tune").set_value(True)
    page = page.run()
    page.number_input(key="train_tune_trials").set_value(9)
    page = healthy(page.run())
    assert any("tune.minutes=10.0 tune.trials=9" in str(code.value) for code in page.code)
    spec = RunSpec(task="literature", family="linear", dataset=dataset, tune=TuneSpec(minutes=1, trials=9))
    run = runs.start(place, spec)
    for _ in runs.follow(place, run):
        pass
    card = read_json(place.model(run) / "model.json")
    assert len(card["tuning"]["trials"]) >= 3 and any("are the best of" in note for note in card["notes"])
    page = healthy(open_page("Runs", run=run))
    # Invented records can be so easy that every trial gets all of them right: then there is nothing to draw.
    differ = len({trial["value"] for trial in card["tuning"]["trials"] if trial["state"] == "complete"}) > 1
    assert bool(page.get("plotly_chart")) == differ
    told = "Every finished trial is a line" if differ else "none of these options made a difference"
    assert told in words(page)


def test_a_bad_yaml_is_refused_in_words(full: tuple[Workspace, str, Run]) -> None:
    page = open_page()
    page.text_area(key="train_yaml_text").set_value("task: literature\nfamily: oracle\ndataset: x\n").run()
    page.button(key="train_yaml_fill").click().run()
    assert "'oracle'" in healthy(page).error[0].value


def test_a_run_is_started_and_opened(full: tuple[Workspace, str, Run]) -> None:
    place = full[0]
    before = {run.id for run in runs.list_runs(place)}
    page = open_page()
    page.radio(key="train_family").set_value("keywords").run()
    page.button(key="train_start").click().run()
    (started,) = {run.id for run in runs.list_runs(place)} - before
    assert healthy(page).query_params["run"] in (started, [started])
    assert "keywords" in words(page)
    for _ in runs.follow(place, started):
        pass
    assert runs.get(place, started).state == "finished"
    page.run()
    assert "✅ **finished**" in words(healthy(page))


def test_a_finished_run_shows_figures_and_baselines(full: tuple[Workspace, str, Run]) -> None:
    _, _, run = full
    page = healthy(open_page(run=run.id))
    told = words(page)
    assert "This run" in told and "Always the most frequent label" in told
    assert "Calibration error before" in told and "after fitting" in told
    assert page.button(key="train_classify").label == "Classify with it"
    assert len(page.dataframe[0].value) > 2


def test_the_list_holds_the_run(full: tuple[Workspace, str, Run]) -> None:
    assert "Runs that ended" in words(healthy(open_page("Runs")))


def planted(place: Workspace, name: str, *events: dict[str, object]) -> str:
    """Write a run's files as a worker that has died leaves them; returns its id."""
    run_id = f"20260101-000000-{name}-0000"
    folder = place.run(run_id)
    folder.mkdir(parents=True)
    spec = RunSpec(task="literature", family="encoder", dataset="sample", options={"batch": 16})
    (folder / "run.yaml").write_text(runs.to_yaml(spec))
    (folder / "lock").touch()
    say = Say(folder / "events.jsonl")
    say("created", spec=spec.model_dump(include={"task", "family", "dataset", "name", "seed"}))
    say("launched", process=1)
    for event in events:
        say(**event)  # type: ignore[arg-type]
    return run_id


def test_a_failed_run_shows_its_cause_the_line_and_the_remedy(full: tuple[Workspace, str, Run]) -> None:
    remedy = {"sentence": "Half the batch needs half the memory.", "options": {"batch": 8, "accumulation": 2}}
    sentence = "The machine ran out of memory."
    event = {"kind": "failed", "sentence": sentence, "line": "MemoryError: <b>", "remedy": remedy}
    page = healthy(open_page(run=planted(full[0], "failed", event)))
    assert [error.value for error in page.error] == [sentence.replace("(", "\\(")]
    assert page.code[0].value == "MemoryError: <b>"
    assert page.button(key="train_remedy").label == "Try again with batch 8, accumulation 2"
    assert page.button(key="train_resume").label == "Resume"


def test_a_lost_run_can_be_resumed(full: tuple[Workspace, str, Run]) -> None:
    event = {"kind": "progress", "step": 3, "steps": 9, "loss": 0.5}
    page = healthy(open_page(run=planted(full[0], "lost", event)))
    assert "The worker died without a word" in page.error[0].value
    assert not page.button(key="train_resume").disabled


def test_the_first_batch_and_mistakes_are_escaped(full: tuple[Workspace, str, Run]) -> None:
    batch = {"kind": "first_batch", "rows": [{"read": "<script>x", "cut": "<i>cut", "labels": ["<b>"]}]}
    wrong = {"label": "a", "probability": 0.9, "truth": False, "text": "<img src=x>"}
    run = planted(
        full[0], "escaped", batch, {"kind": "mistakes", "items": [wrong]}, {"kind": "cancelled", "model": None}
    )
    told = words(healthy(open_page(run=run)))
    assert "&lt;script&gt;x" in told and "<script>" not in told
    assert "&lt;i&gt;cut" in told and "&lt;img src=x&gt;" in told and "<img" not in told


def test_the_curves_show_loss_and_scores(full: tuple[Workspace, str, Run]) -> None:
    steps = [{"kind": "progress", "step": step, "steps": 8, "loss": 1 / step} for step in range(1, 7)]
    scores = [
        {"kind": "metric", "split": "validation", "step": step, "loss": 0.5, "micro_f1": 0.6, "macro_f1": 0.4}
        for step in (3, 6)
    ]
    page = healthy(open_page(run=planted(full[0], "curves", *steps, *scores)))
    assert len(page.get("vega_lite_chart")) == 2


def test_an_unknown_run_is_told_in_words(full: tuple[Workspace, str, Run]) -> None:
    page = healthy(open_page(run="nothing-here"))
    assert "nothing" in page.error[0].value and "id of a run" in page.error[0].value


def test_a_living_run_is_shown_live_and_can_be_stopped(full: tuple[Workspace, str, Run]) -> None:
    place, dataset, _ = full
    # The device is taken, so the run waits: it lives without computing.
    with runs.device_turn(place, "holder", Say()) as mine:
        assert mine
        run = runs.start(place, RunSpec(task="literature", family="keywords", dataset=dataset))
        until(lambda: runs.get(place, run).last["kind"] == "waiting")
        page = healthy(open_page(run=run))
        assert "🕓 **waiting**" in words(page)
        page.button(key="train_cancel").click().run()
        for _ in runs.follow(place, run):
            pass
    assert runs.get(place, run).state == "cancelled"
    assert "Cancelled while it waited" in words(healthy(open_page(run=run)))


def test_the_queue_is_reordered_from_the_page(full: tuple[Workspace, str, Run]) -> None:
    place, dataset, _ = full
    spec = RunSpec(task="literature", family="keywords", dataset=dataset)
    with runs.device_turn(place, "holder", Say()) as mine:
        assert mine
        first, second = runs.start(place, spec), runs.start(place, spec)
        assert runs.queue(place) == sorted([first, second])
        last = runs.queue(place)[-1]
        page = healthy(open_page("Runs"))
        assert "At work and waiting" in words(page)
        page.button(key=f"train_up_{last}").click().run()
        healthy(page)
        assert runs.queue(place)[0] == last
        for run in (first, second):
            runs.cancel(place, run)
            for _ in runs.follow(place, run):
                pass


def test_a_finished_run_lists_the_words_of_each_label(full: tuple[Workspace, str, Run]) -> None:
    from medbench import class_words

    workspace, _, run = full
    told = words(healthy(open_page(run=run.id)))
    assert "Words that matter for each label" in told
    assert "Each word was left out of up to five of" in told
    (workspace.model(run.id) / class_words.FILE).unlink()
    page = healthy(open_page(run=run.id))
    assert "Nobody has looked yet." in words(page)
    healthy(page.button(key="train_find_words").click().run())


def test_folds_are_asked_for_and_shown_with_the_spread(full: tuple[Workspace, str, Run]) -> None:
    place, dataset, _ = full
    page = open_page()
    page.radio(key="train_measured").set_value("Cross-validation")
    page = page.run()
    assert page.number_input(key="train_folds").value == 5
    page.number_input(key="train_folds").set_value(3)
    page = healthy(page.run())
    assert any("folds=3" in str(code.value) for code in page.code)
    assert "about 3 times what one split takes" in words(page)
    run = runs.start(place, RunSpec(task="literature", family="keywords", dataset=dataset, folds=3))
    for _ in runs.follow(place, run):
        pass
    page = healthy(open_page("Runs", run=run))
    assert "In 3-fold cross-validation over" in words(page)
    table = next(frame.value for frame in page.dataframe if "micro-F1" in frame.value.columns)
    assert list(table.iloc[:, 0])[:4] == ["Fold 1", "Fold 2", "Fold 3", "Mean ± sd"]
    assert "±" in table["micro-F1"].iloc[3]


def test_what_a_stage_still_takes_goes_by_its_pace_and_ticks_down() -> None:
    told = Told()
    told.hear([{"t": 100.0, "kind": "progress", "step": 0, "steps": 10}])
    assert told.left(101.0) is None  # nothing is done yet
    told.hear([{"t": 120.0, "kind": "progress", "step": 4, "steps": 10}])
    assert told.left(120.0) == pytest.approx(30.0)  # 4 steps took 20 s, 6 are left
    assert told.left(125.0) == pytest.approx(25.0)
    told.hear([{"t": 130.0, "kind": "progress", "step": 1, "steps": 10}])  # other steps: their pace is not known yet
    assert told.left(130.0) is None
    told.hear([{"t": 140.0, "kind": "progress", "step": 2, "steps": 40, "share": 0.5, "eta": 60.0}])
    assert told.left(150.0) == pytest.approx(50.0)
    assert share_of(told.newest["progress"]) == 0.5
