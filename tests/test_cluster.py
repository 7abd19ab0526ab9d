"""A run and a file on a real Ray cluster of two processors on this machine leave what they leave without one."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import import_planted, planted_csv
from typer.testing import CliRunner

from medbench import batches, cluster, datasets, runs
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.records import RunSpec
from medbench.workspace import Workspace, read_json


def test_without_ray_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MedbenchError, match="Expected Ray, for work on a cluster, found it is not installed"),
        cluster.connected(cluster.LOCAL),
    ):
        pass


def test_what_is_sent_stays_inside_its_folder() -> None:
    place = cluster._Place()
    place.take("models/a/model.json", b"{}")
    assert place.files("models/a") == ["model.json"] and place.give("models/a/model.json") == b"{}"
    with pytest.raises(ValueError, match="a path inside the folder"):
        place.take("../outside", b"")
    with pytest.raises(ValueError, match="a path inside the folder"):
        place.give("/etc/hostname")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    ray = pytest.importorskip("ray")
    started = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield str(started.address_info["gcs_address"])
    ray.shutdown()


def test_a_run_on_a_cluster_leaves_the_same_model(trained: tuple[Workspace, str], tmp_path: Path, address: str) -> None:
    here, alone = trained
    place = Workspace.here(tmp_path / "home")
    dataset = import_planted(place, tmp_path)
    run_id = runs.start(place, RunSpec(task="literature", family="linear", dataset=dataset), cluster=address)
    told = list(runs.follow(place, run_id))
    kinds = [event["kind"] for event in told]
    assert kinds[-1] == "finished", (told[-1], (place.run(run_id) / "log.txt").read_text()[-2000:])
    assert kinds.count("launched") == 1 and "started" in kinds
    assert "Bringing the dataset to the cluster." in [event.get("sentence") for event in told]
    card, twin = (read_json(folder / "model.json") for folder in (place.model(run_id), here.model(alone)))
    assert card["metrics"] == twin["metrics"] and card["id"] == run_id
    assert {path.name for path in place.model(run_id).iterdir()} == {path.name for path in here.model(alone).iterdir()}
    assert datasets.load(place, dataset).id == card["dataset"]["id"]


def test_a_file_is_answered_in_order_and_gone_on_with(
    full_workspace: Workspace, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBENCH_HOME", str(full_workspace.data.parent))
    model, file = full_workspace.model_cards()[0].parent.name, planted_csv(tmp_path / "new.csv", 150, seed=5)
    alone = batches.open_batch(full_workspace, model, file, folder=tmp_path / "alone", chunk=20)
    alone.run()
    first = batches.open_batch(full_workspace, model, file, folder=tmp_path / "there", chunk=20)
    # One chunk is answered here, the rest there.
    first._store(0, alone._chunk(0))
    with cluster.answering(first.loaded, address) as by:
        done: list[int] = []
        first.run(lambda count, _: done.append(count), by=by)
    assert done == [40, 60, 80, 100, 120, 140, 150] and first.resumed == 1 and first.complete
    for number in range(8):
        assert np.allclose(first._chunk(number).probabilities, alone._chunk(number).probabilities, atol=1e-6)
        assert first._chunk(number).ids == alone._chunk(number).ids
    out = tmp_path / "labelled.csv"
    given = CliRunner().invoke(app, ["predict", model, str(file), "--out", str(out), "--cluster", address])
    assert given.exit_code == 0, given.output
    with out.open(encoding="utf-8-sig") as lines:
        assert sum(bool(row["medbench_scores"]) for row in csv.DictReader(lines)) == 150
