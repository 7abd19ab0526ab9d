"""The mirror in MLflow: what it holds, that it stays on this machine, and that without it a run loses nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from medbench import worker_mlflow
from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.workspace import Workspace, read_json

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="the extra mlflow is not installed"
)


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "http://localhost:5000", "sqlite:////tmp/mlflow.db"])
def test_this_machine_is_allowed(address: str) -> None:
    assert worker_mlflow.checked(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.1:5000",
        "https://127.0.0.1.example.org",
        "http://127.0.0.1@example.org",
        "databricks",
        "",
        "ftp://localhost",
    ],
)
def test_other_machines_are_refused(address: str) -> None:
    with pytest.raises(MedbenchError, match=r"an MLflow server on this machine.*127\.0\.0\.1 --port 5000"):
        worker_mlflow.checked(address)


def test_without_an_address_nothing_happens_and_a_failure_is_one_sentence(
    trained: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    place, model = trained
    card = read_json(place.model(model) / "model.json")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    worker_mlflow.mirror(place, card, say)
    assert say.said == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example.org")
    worker_mlflow.mirror(place, card, say)
    assert say.said[-1]["kind"] == "mirrored" and say.said[-1]["run"] is None
    assert say.said[-1]["sentence"].startswith("Not mirrored to MLflow: Expected an MLflow server on this machine")


@needs_mlflow
def test_a_run_is_mirrored_whole(
    trained: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    import mlflow

    place, model = trained
    card = read_json(place.model(model) / "model.json")
    monkeypatch.chdir(tmp_path)  # where MLflow puts artefacts of a database without a server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    worker_mlflow.mirror(place, card, say)
    run_id = say.said[-1]["run"]
    assert run_id, say.said[-1]
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert run.data.params["options.C"] == str(card["options"]["C"]) and run.data.params["family"] == "linear"
    assert run.data.metrics["micro_f1"] == pytest.approx(card["metrics"]["micro_f1"]["value"])
    assert run.data.metrics["micro_f1_low"] == pytest.approx(card["metrics"]["micro_f1"]["low"])
    assert run.data.tags["medbench.id"] == model
    files = {one.path for one in client.list_artifacts(run_id)}
    assert {"model-card.md", "report.pdf", "tripod-ai.md", "reproduce.zip", "model"} <= files
    [version] = client.search_model_versions("name = 'literature-planted'")
    assert version.run_id == run_id
