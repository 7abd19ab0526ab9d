"""Real runs in real processes: finished, queued, cancelled, killed, resumed; and what the list makes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import planted_csv, until

from medbench import datasets, drafting, processes, runs
from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.records import RunSpec
from medbench.splits import SplitPlan
from medbench.tasks import get_task
from medbench.workspace import Workspace, read_json


def wait_for(workspace: Workspace, run_id: str, state: str) -> runs.Run:
    until(lambda: (run := runs.get(workspace, run_id)).state == state or not run.alive)
    run = runs.get(workspace, run_id)
    assert run.state == state, (workspace.run(run_id) / "log.txt").read_text()[-2000:]
    return run


def test_a_run_leaves_exactly_these_files_and_events(trained: tuple[Workspace, str]) -> None:
    workspace, run_id = trained
    assert {path.name for path in workspace.run(run_id).iterdir()} == {"run.yaml", "events.jsonl", "log.txt", "lock"}
    kinds = [event["kind"] for event in runs.events(workspace, run_id)[0]]
    assert kinds[:3] == ["created", "launched", "started"]
    assert kinds[-1] == "finished"
    model = {path.name for path in workspace.model(run_id).iterdir()}
    assert {"model.json", "trust.json", "trust.npz", "known.npz", "neighbours.npz", "judged.npz"} <= model
    assert not any(name.endswith((".pkl", ".pickle", ".joblib", ".bin")) for name in model)


def test_the_card_says_what_was_measured_and_against_what(trained: tuple[Workspace, str]) -> None:
    workspace, run_id = trained
    card = read_json(workspace.model(run_id) / "model.json")
    headline, majority = card["metrics"]["micro_f1"], card["baselines"]["majority"]["micro_f1"]
    assert headline["value"] == 1 and headline["low"] is None  # right on every item: resamples show no spread
    assert majority["low"] < majority["value"] < majority["high"]
    assert {"majority", "keywords"} <= set(card["baselines"])
    assert headline["value"] > majority["value"]
    assert card["calibration"]["ece_after"] <= card["calibration"]["ece_before"] + 0.02
    assert card["learnt_from"]["splits"] == ["train", "validation", "test"]
    assert any("kept weights" in note for note in card["notes"])


def test_a_second_run_waits_its_turn_and_the_queue_can_be_reordered(full_workspace: Workspace, dataset_id: str) -> None:
    workspace = full_workspace
    with workspace.device_lock.open("a") as lock:
        import fcntl

        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        spec = RunSpec(task="literature", family="keywords", dataset=dataset_id)
        first, second = runs.start(workspace, spec), runs.start(workspace, spec)
        wait_for(workspace, second, "queued")
        assert runs.queue(workspace) == sorted([first, second])
        runs.move_up(workspace, second)
        assert runs.queue(workspace)[0] == second
        until(lambda: runs.get(workspace, first).last["kind"] == "waiting")
        runs.cancel(workspace, first)
        assert wait_for(workspace, first, "cancelled").model is None
    finished = wait_for(workspace, second, "finished")
    assert finished.model == second


def test_a_killed_worker_shows_as_lost_and_can_be_resumed(full_workspace: Workspace, dataset_id: str) -> None:
    workspace = full_workspace
    import fcntl

    with workspace.device_lock.open("a") as lock:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        run_id = runs.start(workspace, RunSpec(task="literature", family="keywords", dataset=dataset_id))
        until(lambda: processes._group(workspace.run(run_id)) is not None)
        process = processes._group(workspace.run(run_id))
        assert process is not None
        os.killpg(process, signal.SIGKILL)
        wait_for(workspace, run_id, "lost")
        with pytest.raises(MedbenchError, match="is lost"):
            runs.cancel(workspace, run_id)
    runs.resume(workspace, run_id)
    assert wait_for(workspace, run_id, "finished").model == run_id
    with pytest.raises(MedbenchError, match="is finished"):
        runs.resume(workspace, run_id)


def test_a_run_outlives_the_process_that_started_it(full_workspace: Workspace, dataset_id: str) -> None:
    code = (
        "from medbench import runs; from medbench.records import RunSpec; from medbench.workspace import Workspace;"
        f"print(runs.start(Workspace.here(), RunSpec(task='literature', family='keywords', dataset='{dataset_id}')))"
    )
    home = {**os.environ, "MEDBENCH_HOME": str(full_workspace.data.parent)}
    run_id = subprocess.run([sys.executable, "-c", code], env=home, check=True, capture_output=True, text=True).stdout
    assert wait_for(full_workspace, run_id.strip(), "finished").model == run_id.strip()


def test_a_failed_run_tells_one_sentence_and_keeps_the_traceback_in_the_log(full_workspace: Workspace) -> None:
    run_id = runs.start(full_workspace, RunSpec(task="literature", family="keywords", dataset="no-such-dataset"))
    run = wait_for(full_workspace, run_id, "failed")
    assert str(run.last["sentence"]).startswith("Expected ")
    assert "Traceback" not in str(run.last["sentence"])
    assert "Traceback" in (full_workspace.run(run_id) / "log.txt").read_text()


def test_two_hundred_runs_list_fast_and_newest_first(tmp_path: Path) -> None:
    workspace = Workspace.here(tmp_path)
    for number in range(200):
        folder = workspace.runs / f"20260101-000000-run-{number:04d}"
        folder.mkdir(parents=True)
        say = Say(folder / "events.jsonl")
        say("created", spec={"task": "literature", "family": "linear", "dataset": "d", "name": "", "seed": 0})
        say("finished", model=folder.name)
    listed = runs.list_runs(workspace)
    assert [run.id for run in listed] == sorted((run.id for run in listed), reverse=True)
    assert {run.state for run in listed} == {"finished"}


def test_a_spec_survives_yaml_and_overrides_reach_the_options() -> None:
    spec = RunSpec(task="literature", family="linear", dataset="d", options={"C": 0.5, "ngrams": 2})
    assert runs.parse_spec(runs.to_yaml(spec)) == spec
    changed = runs.parse_spec(runs.to_yaml(spec), ["C=2", "seed=7", "options.ngrams=1"])
    assert (changed.options["C"], changed.options["ngrams"], changed.seed) == (2, 1, 7)


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        ("- a\n- b", [], "Expected"),
        ("task: literature\nfamly: linear", [], "famly"),
        ("task: [", [], "readable YAML"),
        ("task: literature\nfamily: x\ndataset: d", ["epochs"], "overrides like epochs=5"),
    ],
)
def test_a_bad_spec_is_one_sentence(text: str, overrides: list[str], sentence: str) -> None:
    with pytest.raises(MedbenchError, match=sentence):
        runs.parse_spec(text, overrides)


def test_the_command_line_of_a_run_repeats_it() -> None:
    import shlex

    spec = RunSpec(task="literature", family="linear", dataset="d", seed=3, options={"C": 0.5, "name": "a b"})
    words = shlex.split(runs.command_line(spec))
    named = dict(zip(words[2:8:2], words[3:8:2], strict=True))
    overrides = [f"{key.removeprefix('--')}={value}" for key, value in named.items()] + words[8:]
    assert runs.parse_spec("", overrides) == spec


def test_ids_cannot_leave_the_workspace(tmp_path: Path) -> None:
    workspace = Workspace.here(tmp_path)
    for name in ("../x", "a/b", "", ".hidden", "A", "a" * 100, "a..b"):
        with pytest.raises(MedbenchError):
            workspace.run(name)
    assert np.all([workspace.run("ok-1").parent == workspace.runs])


def test_without_a_test_split_the_majority_rule_is_judged_on_the_same_rows(tmp_path: Path) -> None:
    place = Workspace.here(tmp_path)
    task, file = get_task("literature"), planted_csv(tmp_path / "planted.csv", 60)
    draft = drafting.draft([(file, file.name)], task_name=task.name, clean_label=task.clean_label)
    dataset = datasets.save(place, draft, name="no test", plan=SplitPlan("stratified", (0.8, 0.2, 0.0)))
    run_id = runs.start(place, RunSpec(task="literature", family="keywords", dataset=dataset))
    assert [*runs.follow(place, run_id)][-1]["kind"] == "finished"
    card = read_json(place.model(run_id) / "model.json")
    assert card["judged_on"].startswith("out-of-fold")
    assert card["baselines"]["majority"]["micro_f1"]["n"] == card["metrics"]["micro_f1"]["n"] == 60
