"""What careless hands and hostile files do at the doors: one sentence, nothing lost, no trace of the code."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
import typer
from conftest import planted_csv
from starlette.testclient import TestClient
from typer.testing import CliRunner

from medbench import api, batches, datasets, evaluating, predicting, preflight, runs
from medbench.cli import app
from medbench.cli_runs import told
from medbench.errors import MedbenchError
from medbench.readers import open_source
from medbench.splits import SplitPlan
from medbench.workspace import Workspace


def refused(*words: str | Path) -> str:
    """Run a command that must fail as a user's mistake does; return its one sentence."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2, (result.output, result.exception)
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture
def model(trained: tuple[Workspace, str]) -> str:
    return trained[1]


def test_predict_never_overwrites_the_file_it_reads(place: Workspace, model: str, tmp_path: Path) -> None:
    file = planted_csv(tmp_path / "mine.csv", 5)
    before = file.read_bytes()
    assert "Choose another name" in refused("predict", model, file, "--out", file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.partial")] == []


def test_predict_leaves_a_strangers_files_alone(place: Workspace, model: str, tmp_path: Path) -> None:
    file = planted_csv(tmp_path / "mine.csv", 5)
    thesis = tmp_path / "out.csv.partial" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("precious")
    (thesis.parent / ".out.csv.abcd1234").write_text("left by a killed medbench")
    result = CliRunner().invoke(app, ["predict", model, str(file), "--out", str(tmp_path / "out.csv")])
    assert result.exit_code == 0, result.output
    assert [path.name for path in thesis.parent.iterdir()] == ["thesis.txt"]


def test_predict_says_before_the_work_what_it_cannot_write(place: Workspace, model: str, tmp_path: Path) -> None:
    file = planted_csv(tmp_path / "mine.csv", 5)
    (tmp_path / "taken.csv.partial").write_text("a file where the folder should be")
    (tmp_path / "folder").mkdir()
    for name in ("out.pdf", "out.xlsx", "out.ris"):
        assert "CSV or JSON" in refused("predict", model, file, "--out", tmp_path / name)
    assert "inside it" in refused("predict", model, file, "--out", tmp_path / "folder")
    assert "permissions" in refused("predict", model, file, "--out", tmp_path / "taken.csv")
    assert "too long" in refused("predict", model, file, "--out", tmp_path / f"{'a' * 250}.csv")
    refused("predict", "nobody", file, "--out", tmp_path / "out.csv")
    assert sorted(path.name for path in tmp_path.glob("*.partial")) == ["taken.csv.partial"]


def test_two_processes_do_not_write_one_answer(place: Workspace, model: str, tmp_path: Path) -> None:
    file, out = planted_csv(tmp_path / "mine.csv", 5), tmp_path / "out.csv"
    (tmp_path / "out.csv.partial").mkdir()
    with (tmp_path / "out.csv.partial" / "lock").open("a") as held:
        fcntl.flock(held.fileno(), fcntl.LOCK_EX)
        assert "nobody else writing out.csv" in refused("predict", model, file, "--out", out)


class Counted(batches.Batch):
    """A batch that counts its looks at the disk."""

    looks = 0

    def _finished(self) -> int:
        type(self).looks += 1
        return super()._finished()


def test_a_chunk_torn_by_a_power_cut_is_answered_again_and_writing_looks_once(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    place, model = trained
    file = planted_csv(tmp_path / "mine.csv", batches.CHUNK + 10)
    batches.open_batch(place, model, file, folder=tmp_path / "work").run()
    last = tmp_path / "work" / "00001.npz"
    last.write_bytes(last.read_bytes()[:200])
    again = batches.open_batch(place, model, file, folder=tmp_path / "work")
    again.run()
    assert (again.resumed, again.done) == (1, batches.CHUNK + 10)
    counted = Counted(again.folder, again.loaded, again.reader, again.source, again.mapping)
    counted.write(tmp_path / "out.csv")
    assert Counted.looks == 1  # a look for each record made 200,000 of them take minutes
    assert (tmp_path / "out.csv").read_text().count(model) == batches.CHUNK + 10


def test_an_answer_named_gz_is_compressed(place: Workspace, model: str, tmp_path: Path) -> None:
    file, out = planted_csv(tmp_path / "mine.csv", 5), tmp_path / "out.csv.gz"
    result = CliRunner().invoke(app, ["predict", model, str(file), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert gzip.decompress(out.read_bytes()).decode().count(model) == 5


def test_what_the_system_refuses_is_a_sentence(
    home: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left, told(as_json=False):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "rows.parquet")
    assert left.value.exit_code == 2
    assert "Free some space" in capsys.readouterr().err
    shutil.rmtree(home.data)
    home.data.write_text("a file where the folder should be")
    assert "permissions" in refused("import", planted_csv(tmp_path / "mine.csv", 20))


@pytest.mark.parametrize(
    "name", ["known.npz", "linear.json", "trust.json", "trust.npz", "vocabulary.json", "weights.npz"]
)
def test_a_torn_model_is_a_sentence(place: Workspace, model: str, tmp_path: Path, name: str) -> None:
    path = place.model(model) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = refused("evaluate", model, planted_csv(tmp_path / "other.csv", 20, seed=5))
    assert model in said
    assert len(said) < 500


def test_a_damaged_card_does_not_hide_the_others(place: Workspace, model: str, tmp_path: Path) -> None:
    [good] = datasets.list_datasets(place)
    for content in ("{}", '{"id":'):
        for room in (place.models, place.datasets):
            (room / "broken-0123456789").mkdir(exist_ok=True)
            name = "model.json" if room == place.models else "dataset.json"
            (room / "broken-0123456789" / name).write_text(content)
        assert [card["id"] for card in datasets.list_datasets(place)] == [good["id"]]
        assert model in [card["id"] for card in predicting.list_models(place)]
        assert CliRunner().invoke(app, ["models"]).exit_code == 0
        refused("predict", "broken-0123456789", planted_csv(tmp_path / "a.csv", 3), "--out", tmp_path / "b.csv")
    (place.models / f".{model}.partial").mkdir()
    (place.models / f".{model}.partial" / "model.json").write_text((place.model(model) / "model.json").read_text())
    assert [path.parent.name[0] for path in place.model_cards()].count(".") == 0


def test_a_damaged_run_or_dataset_is_a_sentence(place: Workspace, model: str) -> None:
    [card] = datasets.list_datasets(place)
    folder = place.dataset(card["id"])
    (place.run(model) / "run.yaml").write_bytes(b"\x80\x81: [")
    with pytest.raises(MedbenchError, match="undamaged run"):
        datasets.delete(place, card["id"])
    assert (folder / "dataset.json").exists()
    rows = folder / "rows.parquet"
    spec = runs.parse_spec(f"{{task: literature, family: linear, dataset: {card['id']}}}")
    assert preflight.check(place, spec).ready  # what was read then must not stand for what is there now
    rows.write_bytes(rows.read_bytes()[:1000])
    assert "undamaged dataset" in refused("train", "--family", "linear", "--dataset", card["id"])
    for first in (b"[1, 2]\n", b'{"kind": 1}\n', b"\xb8\xff\n"):
        (place.run(model) / "events.jsonl").write_bytes(first)
        assert runs.list_runs(place) == []


def test_rows_with_unknown_labels_only_are_not_judged(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    place, model = trained
    file = planted_csv(tmp_path / "other.csv", 20, seed=5)
    alone = evaluating.evaluate_file(place, model, file, n_boot=10)
    with file.open("a") as lines:
        lines.write("1,New,Nothing of the sort was ever seen here,gardening,2020\n" * 3)
    found = evaluating.evaluate_file(place, model, file, n_boot=10)
    assert (found.judged, found.unlabelled, found.unknown_labels) == (20, 3, {"gardening": 3})
    assert found.metrics["micro_f1"].value == alone.metrics["micro_f1"].value


def test_leaked_rows_are_named_when_none_is_left(place: Workspace, model: str, tmp_path: Path) -> None:
    said = refused("evaluate", model, planted_csv(tmp_path / "same.csv"))
    assert "150 rows that it learnt from" in said
    assert "--keep-seen" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("name: ${oc.env:HOME}\n", "${oc.env:"), ("name: [\n", "readable YAML"), ("\ud800", "no text")],
)
def test_a_spec_from_elsewhere_reads_nothing_of_this_machine(
    place: Workspace, tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "spec.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    said = refused("train", tmp_path / "spec.yaml", "task=literature", "family=linear", "dataset=planted")
    assert sentence in said
    assert os.environ["HOME"] not in said


def test_absurd_plans_and_nested_sentences(place: Workspace, tmp_path: Path) -> None:
    for shares in ((float("nan"), 0.5, 0.5), (0.7, float("nan"), 0.3)):
        with pytest.raises(MedbenchError, match="three shares"):
            SplitPlan(shares=shares)
    assert "seed" in refused("import", planted_csv(tmp_path / "a.csv", 20), "--seed", "-5")
    assert ".." not in refused("train", "--family", "linear", "--dataset", "planted", "device=tpu")


def test_damaged_gzip_and_a_giant_first_cell(tmp_path: Path) -> None:
    packed = gzip.compress(b"title,abstract\nA,B\n" * 50)
    (tmp_path / "torn.csv.gz").write_bytes(packed[:10])
    with pytest.raises(MedbenchError, match="damaged or empty gzip"):
        open_source(tmp_path / "torn.csv.gz")
    (tmp_path / "giant.csv").write_text('title,abstract,labels\none,"' + "word " * 200_000 + '",A\ntwo,short,B\n')
    reader, source = open_source(tmp_path / "giant.csv")
    assert [len(record.first("abstract")) for record in reader.read(source)] == [1_000_000, 5]


def test_the_api_refuses_half_characters_and_keeps_names_short(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    client, model = TestClient(api.mounted(trained[0])), trained[1]
    body = json.dumps({"model": model, "items": [{"text": "\ud800 stent"}]})
    answer = client.post("/api/predict", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (422, {"expected", "found", "todo"})
    content = planted_csv(tmp_path / "a.csv", 3).read_bytes()
    for name, ending in (("x." + "a" * 250, ".csv"), ("b" * 300 + ".csv", ".csv"), ("c.csv.gz", ".csv")):
        told = client.post("/api/predict/file", files={"file": (name, content)}, data={"model": model})
        assert (told.status_code, told.text.count(model)) == (200, 3)
        assert f"-medbench{ending}" in told.headers["content-disposition"]


def test_a_full_disk_is_named_by_the_api() -> None:
    import errno
    from http import HTTPStatus

    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from medbench.api_guard import Guard

    async def full(request: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    guarded = Starlette(routes=[Route("/", full)], middleware=[Middleware(Guard)])
    answer = TestClient(guarded, raise_server_exceptions=False).get("/")
    assert answer.status_code == HTTPStatus.INSUFFICIENT_STORAGE
    assert "full disk" in answer.text


def test_rows_that_are_all_alike_are_told_before_the_start(tmp_path: Path) -> None:
    from medbench import datasets, preflight
    from medbench.records import RunSpec
    from medbench.tasks import get_task

    file = tmp_path / "alike.csv"
    file.write_text("title,abstract,labels\n" + "".join(f"Same,Same words,{'ab'[n % 2]}\n" for n in range(40)))
    workspace = Workspace(tmp_path / "data", tmp_path / "models")
    task = get_task("literature")
    draft = datasets.draft([(file, file.name)], task_name=task.name, clean_label=task.clean_label)
    dataset = datasets.save(workspace, draft, name="alike")
    found = preflight.check(workspace, RunSpec(task="literature", family="linear", dataset=dataset))
    assert any("same text" in problem for problem in found.problems)
