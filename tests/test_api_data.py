"""Datasets and label trees over HTTP: listed, described, brought, set, refused in three parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import planted_csv
from starlette.testclient import TestClient
from test_api import refusal

from medbench import api, datasets
from medbench.workspace import Workspace

PARENTS = {"cardiology": "inner organs", "neurology": "nerves", "oncology": "tumours"}


@pytest.fixture
def client(full_workspace: Workspace) -> TestClient:
    return TestClient(api.mounted(full_workspace))


def test_datasets_are_listed_and_described(client: TestClient, dataset_id: str) -> None:
    [one] = client.get("/api/datasets").json()
    assert (one["id"], one["name"], one["n_rows"], one["n_labels"]) == (dataset_id, "planted", 150, 3)
    card = client.get(f"/api/datasets/{dataset_id}").json()
    assert card["labels"] == sorted(PARENTS) and card["tree"] is None
    assert client.get("/api/datasets/planted").json() == card
    told = refusal(client.get("/api/datasets/nothing"), 404)
    assert told["expected"] == "the id or name of a dataset" and dataset_id in told["todo"]


def test_files_become_a_dataset_as_by_any_other_door(
    client: TestClient, full_workspace: Workspace, tmp_path: Path
) -> None:
    sent = {"files": ("../../mine.csv", planted_csv(tmp_path / "mine.csv", 60, seed=9).read_bytes())}
    about = {"name": "mine", "labels": "labels", "shares": "60/20/20", "licence": "CC0", "seed": "3"}
    made = client.post("/api/datasets", files=sent, data=about)
    assert made.status_code == 200, made.text
    card = made.json()
    assert (card["name"], card["n_rows"], card["licence"]) == ("mine", 60, "CC0")
    assert card["account"] == {"mine.csv": {"read": 60, "repaired": 0, "refused": 0}}
    assert sum(card["splits"].values()) == 60 and card["splits"]["train"] <= 40
    assert datasets.load(full_workspace, "mine").id == card["id"]
    assert not list(full_workspace.datasets.glob(".import-*"))


def test_what_is_no_dataset_is_refused(client: TestClient) -> None:
    def post(content: bytes, **about: str) -> object:
        return client.post("/api/datasets", files={"files": ("a.csv", content)}, data=about)

    assert "three shares" in refusal(post(b"title,labels\na,b\n", shares="70/30"), 400)["expected"]
    refusal(post(b"title,labels\na,b\n", task="chess"), 400)
    refusal(post(b""), 400)
    refusal(client.post("/api/datasets", data={"name": "x"}), 422)
    hostile = {"sec-fetch-site": "cross-site"}
    refusal(client.put("/api/datasets/planted/tree", json={"ready": True}, headers=hostile), 403)


def test_a_tree_is_set_read_and_taken_away(client: TestClient, full_workspace: Workspace) -> None:
    address = "/api/datasets/planted/tree"
    assert client.get(address).json() == {}
    made = client.put(address, json={"parents": PARENTS})
    assert made.status_code == 200 and made.json()["parents"] == PARENTS, made.text
    assert client.get(address).json()["parents"] == PARENTS
    assert client.get("/api/datasets/planted").json()["tree"] is not None
    typed = client.put(address, json={"text": "inside\n  cardiology\n  oncology\n  gastrology\n", "leave_out": True})
    assert typed.json()["parents"] == {"cardiology": "inside", "oncology": "inside"}
    assert any("gastrology" in sentence for sentence in typed.json()["notes"])
    circle = {"cardiology": "a", "a": "b", "b": "a"}
    refusal(client.put(address, json={"parents": circle}), 400)
    assert "exactly one" in refusal(client.put(address, json={}), 422)["todo"]
    refusal(client.put(address, json={"ready": True}), 400)  # abstracts have no ready-made tree
    assert client.get(address).json()["parents"] == {"cardiology": "inside", "oncology": "inside"}
    assert client.delete(address).json() == {} and client.get(address).json() == {}
    refusal(client.delete("/api/datasets/nothing/tree"), 404)
