"""The API: the library's answers, one shape of refusal, files back in their own format, nothing left behind."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from medbench import api, api_guard, predicting, runs
from medbench.records import Item
from medbench.workspace import Workspace

TEXT = "Myocardial infarction and angina in patients with coronary stent."


@pytest.fixture(scope="module")
def client(trained: tuple[Workspace, str]) -> TestClient:
    return TestClient(api.mounted(trained[0]))


@pytest.fixture
def model(trained: tuple[Workspace, str]) -> str:
    return trained[1]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go during the test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def refusal(response: object, status: int) -> dict[str, str]:
    assert (response.status_code, set(response.json())) == (status, {"expected", "found", "todo"}), response.text
    return response.json()


def test_health_and_lists(client: TestClient, trained: tuple[Workspace, str]) -> None:
    place, model = trained
    health = client.get("/api/health").json()
    assert (health["status"], health["models"]) == ("ok", len(place.model_cards()))
    cards = client.get("/api/models").json()
    assert cards[0]["id"] == model
    assert cards[0]["labels"] == ["cardiology", "neurology", "oncology"]
    assert client.get(f"/api/models/{model}").json() == predicting.load(place, model).card
    [run] = client.get("/api/runs").json()
    assert (run["id"], run["state"], run["model"], run["last"]["kind"]) == (model, "finished", model, "finished")


def test_predict_answers_as_the_library_does(client: TestClient, trained: tuple[Workspace, str]) -> None:
    place, model = trained
    asked = [{"id": "a", "title": "Angina", "text": TEXT}, {"title": "β", "text": ""}, {"text": "  "}]
    items = [Item("a", "Angina", TEXT), Item("2", "β", ""), Item("3", "", "  ")]
    answer = client.post("/api/predict", json={"model": model, "items": asked}).json()
    expected = [told.as_json() for told in predicting.predict(predicting.load(place, model), items)]
    assert answer == {"model": model, "predictions": json.loads(json.dumps(expected))}
    assert answer["predictions"][0]["chosen"] == ["cardiology"]
    assert answer["predictions"][2]["problem"] == predicting.EMPTY


def test_evidence_points_into_the_text_it_returns(client: TestClient, model: str) -> None:
    question = {"model": model, "items": [{"title": "Angina", "text": TEXT}], "evidence": True}
    [answer] = client.post("/api/predict", json=question).json()["predictions"]
    [reason] = answer["evidence"]
    assert reason["label"] == "cardiology"
    assert reason["text"] == f"Angina\n{TEXT}"
    best = max(reason["spans"], key=lambda span: span["weight"])
    assert reason["text"][best["start"] : best["end"]].lower() in reason["text"].lower().split()
    explained = client.post("/api/explain", json={"model": model, "item": question["items"][0]}).json()
    assert explained == reason
    other = client.post("/api/explain", json={"model": model, "item": {"text": TEXT}, "label": "oncology"}).json()
    assert other["label"] == "oncology"


@pytest.mark.parametrize(
    ("path", "question", "status", "found"),
    [
        ("predict", {"items": [{"text": "a"}]}, 422, "body.model: Field required"),
        ("predict", {"model": "MODEL", "items": []}, 422, "body.items: List should have at least 1 item"),
        (
            "predict",
            {"model": "MODEL", "items": [{"text": 3}]},
            422,
            "body.items.0.text: Input should be a valid string",
        ),
        ("predict", {"model": "MODEL", "items": [{"text": "a"}], "evidenc": True}, 422, "body.evidenc: Extra inputs"),
        ("predict", {"model": "no-such", "items": [{"text": "a"}]}, 404, "'no-such'"),
        ("predict", {"model": "../x", "items": [{"text": "a"}]}, 404, "'../x'"),
        ("predict", {"model": "@no-such", "items": [{"text": "a"}]}, 404, "'@no-such'"),
        ("predict", {"model": "MODEL", "items": [{"text": "a"}] * 1001}, 413, "1,001"),
        ("predict", {"model": "MODEL", "items": [{"text": "a"}] * 51, "evidence": True}, 413, "51"),
        ("predict", {"model": "MODEL", "items": [{"text": "é" * 500_001}]}, 413, "1,000,002 bytes"),
        ("explain", {"model": "MODEL", "item": {"text": " "}}, 422, "an empty item"),
        ("explain", {"model": "MODEL", "item": {"text": "a"}, "label": "x"}, 400, "'x'"),
    ],
)
def test_refusals(client: TestClient, model: str, path: str, question: dict, status: int, found: str) -> None:
    question = {name: model if value == "MODEL" else value for name, value in question.items()}
    assert found in refusal(client.post(f"/api/{path}", json=question), status)["found"]


def test_other_refusals(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    refusal(client.get("/api/models/no-such"), 404)
    refusal(client.get("/api/nothing"), 404)
    refusal(client.get("/api/predict"), 405)
    refusal(client.post("/api/predict", content=b"{", headers=headers), 422)
    refusal(client.post("/api/predict", content=b"{}"), 422)  # without its content type it is not read as JSON
    assert refusal(client.post("/api/health", headers={"sec-fetch-site": "cross-site"}), 403)["todo"]
    assert "access-control-allow-origin" not in client.get("/api/health", headers={"origin": "http://x"}).headers


def test_bodies_over_the_limit_are_refused_before_they_are_read_to_the_end(client: TestClient) -> None:
    sent = []

    def body() -> Iterator[bytes]:
        for number in range(40):
            sent.append(number)
            yield b" " * 1_000_000

    headers = {"content-type": "application/json"}
    told = refusal(client.post("/api/predict", content=b" " * (api_guard.BODY_LIMIT + 1), headers=headers), 413)
    assert told["expected"] == "at most 16,000,000 bytes a call"
    assert refusal(client.post("/api/predict", content=body(), headers=headers), 413) == told


def table_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_a_csv_comes_back_as_csv_with_the_same_labels(client: TestClient, model: str, temporary: Path) -> None:
    rows = [("p1", "Angina", TEXT), ("p2", "Seizure", "Epilepsy, migraine and cortex in patients."), ("p3", "", "")]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([("pmid", "title", "abstract"), *rows])
    upload = {"file": ("Meine Liste.csv", out.getvalue().encode())}
    response = client.post("/api/predict/file", files=upload, data={"model": model})
    assert response.status_code == 200, response.text
    assert "Meine%20Liste-medbench.csv" in response.headers["content-disposition"]
    back = table_of(response.content)
    asked = [{"id": name, "title": title, "text": text} for name, title, text in rows]
    alone = client.post("/api/predict", json={"model": model, "items": asked}).json()["predictions"]
    assert [row["pmid"] for row in back] == ["p1", "p2", "p3"]
    assert [row["medbench_labels"].split(";") for row in back[:2]] == [told["chosen"] for told in alone[:2]]
    assert [row["medbench_model"] for row in back] == [model] * 3
    as_json = client.post("/api/predict/file?format=json", files=upload, data={"model": model}).json()
    # Why a text is unlike the training data is told in words of single texts only.
    assert as_json["predictions"] == [{**told, "strange": ""} for told in alone]
    stand = sum(not told["needs_human"] for told in alone)
    assert as_json["stands"][0].startswith(f"{stand} of 3 answers ") and alone[0]["promise"] in as_json["stands"]
    assert as_json["account"] == {"read": 3, "repaired": 0, "refused": 0, "entries": []}
    assert list(temporary.iterdir()) == []


def test_ris_comes_back_as_ris_or_as_csv(client: TestClient, model: str, samples: Path, temporary: Path) -> None:
    data = (samples / "zotero-sample.ris").read_bytes()
    upload = {"file": ("zotero-sample.ris", data)}
    same = client.post("/api/predict/file", files=upload, data={"model": model})
    assert same.headers["content-disposition"].endswith('"zotero-sample-medbench.ris"')
    assert same.content.count(b"\nER  -") == data.count(b"\nER  -")
    assert model.encode() in same.content
    table = client.post("/api/predict/file?format=csv", files=upload, data={"model": model})
    assert table.headers["content-disposition"].endswith('"zotero-sample-medbench.csv"')
    assert len(table_of(table.content)) == data.count(b"\nER  -")
    assert list(temporary.iterdir()) == []


def test_named_columns_are_used(client: TestClient, model: str) -> None:
    upload = {"file": ("x.csv", f"a,b,c\nx,{TEXT},7\n".encode())}
    fields = {"model": model, "text": "b", "id": "c"}
    answer = client.post("/api/predict/file?format=json", files=upload, data=fields).json()
    assert [(told["id"], told["chosen"]) for told in answer["predictions"]] == [("7", ["cardiology"])]
    told = refusal(client.post("/api/predict/file", files=upload, data={"model": model, "text": "zz"}), 400)
    assert told["expected"].startswith("a column named 'zz'")
    assert told["todo"] == "Choose one of these: a, b, c."


def test_files_that_cannot_be_used_are_refused_and_leave_nothing(
    client: TestClient, model: str, temporary: Path
) -> None:
    for name, data in (("a.csv", b""), ("a.csv", b"\x00\x01\x02" * 50), ("a.csv", b"n,m\n1,2\n3,4\n")):
        refusal(client.post("/api/predict/file", files={"file": (name, data)}, data={"model": model}), 400)
    refusal(client.post("/api/predict/file", files={"file": ("a.csv", b"x")}, data={"model": "no-such"}), 404)
    refusal(client.post("/api/predict/file", data={"model": model}), 422)
    unknown = client.post("/api/predict/file?format=doc", files={"file": ("a.csv", b"x")}, data={"model": model})
    assert "query.format" in refusal(unknown, 422)["found"]
    assert list(temporary.iterdir()) == []


def test_documents_load_nothing_and_name_every_path(client: TestClient) -> None:
    page = client.get("/api/docs").text
    schema = client.get("/api/openapi.json").json()
    assert schema["servers"] == [{"url": "/api"}]
    assert {"/health", "/predict", "/explain", "/compare", "/aliases"} <= set(schema["paths"])
    assert all(f"<code>{path}</code>" in page for path in schema["paths"])
    assert "curl http://testserver/api/health" in page
    assert "how near the closest decision is to its threshold" in page
    assert not re.findall(r"<script|<link|<img|@import|url\(|src=", page)
    assert client.get("/", follow_redirects=False).headers["location"] == "/api/docs"


def test_a_fault_of_ours_is_one_sentence_and_a_traceback_in_the_log(
    full_workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    [run] = runs.list_runs(full_workspace)
    events = full_workspace.run(run.id) / "events.jsonl"
    events.unlink()
    events.mkdir()  # a state no code of ours leaves behind
    told = refusal(TestClient(api.mounted(full_workspace)).get("/api/runs"), 500)
    assert "Traceback" not in json.dumps(told)
    assert "IsADirectoryError" in caplog.text
