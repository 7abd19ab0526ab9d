"""A finished run is mirrored to an MLflow server on this machine, when MLFLOW_TRACKING_URI names one (extra `mlflow`).

The files of medbench stay the truth: the mirror is written once, read by nobody here, and a server that is down costs a
sentence in the run's events, never the run.
"""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medbench import aliases, bundles
from medbench.errors import MedbenchError
from medbench.events import Say, read_events
from medbench.workspace import Workspace

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LONGEST = 500  # characters of a parameter
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
_PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}  # seconds


def mirror(workspace: Workspace, card: Mapping[str, Any], say: Say) -> None:
    """Mirror a saved model and its run; does nothing without MLFLOW_TRACKING_URI, and never raises.

    Args:
        workspace: Where the model and the run lie.
        card: The model's card.
        say: Told that it is being mirrored, or why that failed.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not address:
        return
    say("stage", name="mirror", sentence="Mirroring the run to MLflow.")
    try:
        run_id = _mirrored(workspace, card, checked(address))
        say("mirrored", run=run_id, sentence=f"Mirrored to MLflow as run {run_id}.")
    except Exception as error:  # noqa: BLE001 - the model is saved; a mirror must not cost it
        traceback.print_exc()
        why = str(error) if isinstance(error, MedbenchError) else f"{type(error).__name__}: {error}"
        say("mirrored", run=None, sentence=f"Not mirrored to MLflow: {' '.join(why.split())[:300]}")


def checked(address: str) -> str:
    """Return the address of a tracking store on this machine.

    Raises:
        MedbenchError: It is on another machine: nothing leaves this one.
    """
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.hostname in _LOOPBACK:
        return address
    if parts.scheme == "sqlite" and not parts.netloc:
        return address
    raise MedbenchError(
        "an MLflow server on this machine, or sqlite:///FILE, in MLFLOW_TRACKING_URI",
        repr(address),
        "Start one: mlflow server --host 127.0.0.1 --port 5000.",
    )


def _mirrored(workspace: Workspace, card: Mapping[str, Any], address: str) -> str:
    """Write the run to MLflow; return its id there."""
    os.environ.update(
        _QUIET
    )  # before the import: MLflow reports its use, and litellm beside it fetches a list of prices
    for name, value in _PATIENT.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError:
        raise MedbenchError(
            "the package mlflow", "none installed", 'Install it: pip install "medbench[mlflow]".'
        ) from None
    mlflow.set_tracking_uri(address)
    name = aliases.default_name(card)
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name=str(card["name"])) as run:
        mlflow.log_params(dict(_parameters(card)))
        mlflow.log_metrics(dict(_figures(card)))
        for values, step in _curves(workspace.run(str(card["run"]))):
            mlflow.log_metrics(values, step=step)
        mlflow.set_tags(
            {f"medbench.{key}": str(card.get(key, "")) for key in ("id", "task", "family", "judged_on", "command")}
        )
        for file, content in bundles.everything(workspace, str(card["id"])).items():
            _log_file(mlflow, file, content)
        mlflow.log_artifacts(str(workspace.model(str(card["id"]))), "model")
        _register(mlflow.MlflowClient(), name, str(run.info.run_id), str(run.info.artifact_uri))
        return str(run.info.run_id)


def _log_file(mlflow: Any, name: str, content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        mlflow.log_artifact(str(path))


def _register(client: Any, name: str, run_id: str, artifacts: str) -> None:
    """Make the model a version of the registered model that is named after its job."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.create_model_version(name, source=f"{artifacts}/model", run_id=run_id)


def _parameters(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from (("family", str(card["family"])), ("seed", str(card.get("seed", 0))))
    yield from (("dataset", str(card["dataset"]["id"])), ("device", str(card.get("device", ""))))
    for name, value in card.get("options", {}).items():
        yield f"options.{name}", str(value)[:_LONGEST]


def _figures(card: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the card's metrics with their intervals; MLflow has no place for what was not measured."""
    for name, figure in card["metrics"].items():
        for part, ending in (("value", ""), ("low", "_low"), ("high", "_high")):
            if figure.get(part) is not None and math.isfinite(figure[part]):
                yield f"{name}{ending}", float(figure[part])
    cost = card.get("cost", {})
    yield from ((f"cost_{name}", float(cost[name])) for name in ("seconds", "peak_memory", "size") if cost.get(name))


def _curves(folder: Path) -> Iterator[tuple[dict[str, float], int]]:
    """Yield what a run measured on its way: (name -> value, step)."""
    for event in read_events(folder / "events.jsonl")[0]:
        if event["kind"] in ("metric", "progress") and isinstance(event.get("step"), int):
            values = {
                f"course_{name}": value
                for name, value in event.items()
                if isinstance(value, float) and name not in ("t", "eta") and math.isfinite(value)
            }
            if values:
                yield values, event["step"]
