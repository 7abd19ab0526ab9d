"""The datasets page: empty, full, and all the way from a dropped file to a saved dataset."""

from __future__ import annotations

import io
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from pages_at_work import make_dataset, opened, small_csv, words_on
from streamlit.testing.v1 import AppTest

from medbench import datasets, runs, searching, uploads
from medbench.records import ColumnMap, RunSpec
from medbench.tasks import get_task
from medbench.workspace import Workspace

PAGE = "pages/datasets.py"
CLEAN = get_task("literature").clean_label


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a labelled and an unlabelled dataset; tests that use it only read."""
    folder = tmp_path_factory.mktemp("full")
    workspace = Workspace.here(folder)
    make_dataset(workspace, folder)
    make_dataset(workspace, folder, "unread", labelled=False)
    return workspace


@pytest.fixture
def at_full(full: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MEDBENCH_HOME", str(full.data.parent))
    return full


def id_of(workspace: Workspace, name: str) -> str:
    return datasets.load(workspace, name).id


def choose(app: AppTest, key: str, value: str) -> AppTest:
    app.segmented_control(key=key).set_value(value)
    app.run()
    assert not app.exception
    assert not app.error
    return app


# --- the list --------------------------------------------------------------------------------------------------


def test_an_empty_list_says_what_to_do(home: Workspace) -> None:
    app = opened(PAGE)
    assert not app.error
    assert "No dataset yet" in words_on(app)
    assert "Add a dataset" in words_on(app)


def test_the_list_shows_every_dataset(at_full: Workspace) -> None:
    app = opened(PAGE)
    assert not app.error
    assert "2 datasets" in words_on(app)
    table = app.dataframe[0].value
    assert sorted(table["name"]) == ["cohorts", "unread"]
    assert set(table["rows"]) == {60}
    assert "to classify, not to train" in set(table["train / validation / test"])


def test_an_unknown_id_is_told_in_words(at_full: Workspace) -> None:
    app = opened(PAGE, dataset="no-such-thing")
    assert "found 'no-such-thing'" in words_on(app)


# --- one opened ------------------------------------------------------------------------------------------------


def test_an_opened_dataset_shows_facts_and_verdict(at_full: Workspace) -> None:
    dataset = datasets.load(at_full, "cohorts")
    app = opened(PAGE, dataset=dataset.id)
    assert not app.error
    shown = words_on(app)
    assert dataset.id in shown
    assert " / ".join(str(count) for count in dataset.counts.values()) in shown
    for finding in dataset.findings:
        assert finding.sentence in shown


def test_a_finding_opens_its_rows(at_full: Workspace) -> None:
    dataset = datasets.load(at_full, "cohorts")
    app = opened(PAGE, dataset=dataset.id)
    toggles = [toggle for toggle in app.toggle if str(toggle.key).startswith("finding_")]
    assert len(toggles) == sum(bool(finding.rows) for finding in dataset.findings) > 0
    toggles[0].set_value(True).run()
    assert not app.exception
    assert not app.error
    assert any("Download these rows" in button.label for button in app.get("download_button"))


def test_rows_can_be_searched(at_full: Workspace) -> None:
    app = choose(opened(PAGE, dataset=id_of(at_full, "cohorts")), "opened_section", "Rows")
    assert "60 rows" in words_on(app)
    app.text_input(key="rows_search").set_value("SPIROMETRY").run()
    assert "20 rows" in words_on(app)
    app.selectbox(key="rows_label").set_value("heart").run()
    assert "No row matches." in words_on(app)
    assert not app.error


@pytest.mark.parametrize("picture", ["Labels", "Lengths", "Together", "Typical words"])
def test_every_picture_is_drawn(at_full: Workspace, picture: str) -> None:
    dataset_id = id_of(at_full, "cohorts")
    app = choose(opened(PAGE, dataset=dataset_id), "opened_section", "Plots")
    choose(app, f"picture_{dataset_id}", picture)
    if picture == "Together":
        assert "No row carries two labels" in words_on(app)
    else:
        assert len(app.get("vega_lite_chart")) == 1


def test_the_card_can_be_read(at_full: Workspace) -> None:
    app = choose(opened(PAGE, dataset=id_of(at_full, "cohorts")), "opened_section", "Card")
    assert app.dataframe[0].value["name"].tolist() == ["cohorts.csv"]
    assert len(app.json) == 1


def test_an_unlabelled_dataset_is_for_classifying(at_full: Workspace) -> None:
    app = opened(PAGE, dataset=id_of(at_full, "unread"))
    assert not app.error
    assert "it can be classified, not trained" in words_on(app)
    assert [button.key for button in app.button if button.key in ("opened_train", "opened_classify")] == [
        "opened_classify"
    ]


def test_deleting_asks_and_deletes(home: Workspace, tmp_path: Path) -> None:
    app = opened(PAGE, dataset=make_dataset(home, tmp_path))
    app.button(key="opened_delete").click().run()
    assert not app.exception
    assert datasets.list_datasets(home) == []
    assert "No dataset yet" in words_on(app)


def test_deleting_is_refused_while_runs_use_it(home: Workspace, tmp_path: Path) -> None:
    dataset_id = make_dataset(home, tmp_path)
    folder = home.runs / "20260101-000000-linear-0000"
    folder.mkdir(parents=True)
    spec = RunSpec(task="literature", family="linear", dataset=dataset_id)
    (folder / "run.yaml").write_text(runs.to_yaml(spec), encoding="utf-8")
    app = opened(PAGE, dataset=dataset_id)
    app.button(key="opened_delete").click().run()
    assert folder.name in app.error[0].value.replace("\\", "")
    assert len(datasets.list_datasets(home)) == 1


# --- adding ----------------------------------------------------------------------------------------------------


def dropped(*files: tuple[str, bytes]) -> AppTest:
    """The page with these files dropped on it."""
    app = opened(PAGE, add="1")
    app.file_uploader[0].set_value([(name, content, "application/octet-stream") for name, content in files])
    app.run()
    assert not app.exception
    return app


def test_a_dropped_table_becomes_a_dataset(home: Workspace, tmp_path: Path) -> None:
    app = dropped(("my cohorts.csv", small_csv(tmp_path).read_bytes()))
    assert not app.error
    assert "Labels: column “labels”, one label in each cell; 3 different labels" in words_on(app)
    app.button(key="add_check").click().run()
    assert not app.exception
    assert "Read as they stand" in words_on(app)
    app.text_input(key="add_terms").set_value("CC BY 4.0")
    app.button(key="add_save").click().run()
    assert not app.exception
    assert not app.error
    (card,) = datasets.list_datasets(home)
    assert (card["name"], card["n_rows"], card["licence"]) == ("my cohorts", 60, "CC BY 4.0")
    assert f"Saved. Cite it as {card['id']}." in words_on(app)
    assert list((home.data / "uploads").iterdir()) == []


def test_columns_can_be_changed_and_the_change_is_noticed(home: Workspace, tmp_path: Path) -> None:
    app = dropped(("a.csv", small_csv(tmp_path).read_bytes()))
    app.button(key="add_check").click().run()
    labels = next(box for box in app.multiselect if str(box.key).endswith("_labels"))
    labels.set_value([]).run()
    assert "have changed since the check" in words_on(app)
    app.button(key="add_check").click().run()
    assert "it can be classified, not trained" in words_on(app) or "can be classified, not trained" in words_on(app)
    app.button(key="add_save").click().run()
    (card,) = datasets.list_datasets(home)
    assert card["labels"] == []


def test_bad_files_and_bad_records_leave_the_good_ones(home: Workspace, tmp_path: Path) -> None:
    good = small_csv(tmp_path).read_text(encoding="utf-8")
    torn = good + 'p99,"one cell too many",a,b,c,d,e\n'
    app = dropped(("good.csv", torn.encode()), ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(200)))
    assert "picture.png" in words_on(app)
    assert "1 file left out" in words_on(app)
    app.button(key="add_check").click().run()
    assert not app.exception
    told = app.dataframe[-1].value
    assert any("picture.png" in str(row) for row in told.to_dict("records")) or "picture.png" in words_on(app)
    app.button(key="add_save").click().run()
    (card,) = datasets.list_datasets(home)
    assert card["n_rows"] == 60
    assert card["sources"][0]["refused"] == 1


def test_contradictory_rows_can_be_merged_and_taken_apart(home: Workspace) -> None:
    lines = ["title,abstract,label"]
    for number in range(20):
        text = f"Title {number},In {number + 10} patients we measured the heart and the lung over {number + 3} weeks"
        lines += [f"{text},heart", f"{text},lung"]
    app = dropped(("rows.csv", "\n".join(lines).encode()))
    app.button(key="add_check").click().run()
    app.button(key="add_merge").click().run()
    assert not app.exception
    assert "were merged into one" in words_on(app)
    assert len(app.session_state["add_checked"].draft.frame) == 20
    app.button(key="add_unmerge").click().run()
    assert len(app.session_state["add_checked"].draft.frame) == 40
    assert "were merged into one" not in words_on(app)


def test_the_sample_loads_and_can_be_put_away(home: Workspace) -> None:
    app = opened(PAGE, add="1")
    app.button(key="add_sample").click().run()
    assert not app.exception
    assert not app.error
    assert "abstracts.csv" in "\n".join(expander.label for expander in app.expander).replace("\\", "")
    app.button(key="add_other").click().run()
    assert [button.key for button in app.button if button.key == "add_sample"] == ["add_sample"]
    assert list((home.data / "uploads").iterdir()) == []


# --- dropped files, without the page ---------------------------------------------------------------------------


@dataclass
class File:
    name: str
    content: bytes

    @property
    def file_id(self) -> str:
        return self.name

    @property
    def size(self) -> int:
        return len(self.content)


def received(workspace: Workspace, *files: File) -> uploads.Upload:
    return uploads.receive(workspace, [(file, io.BytesIO(file.content)) for file in files], lambda share, told: None)


def test_files_of_one_shape_share_a_map(workspace: Workspace) -> None:
    first = File("a.ris", b"TY  - JOUR\nTI  - One title here\nAB  - Words of an abstract.\nER  - \n")
    second = File("b.ris", b"TY  - JOUR\nT1  - Another title here\nER  - \n")
    table = File("c.csv", b"title,abstract\nA title,some words of an abstract that is long enough\n")
    upload = received(workspace, first, second, table)
    groups = uploads.groups_of(upload)
    assert [[look.name for look in group.looks] for group in groups] == [["a.ris", "b.ris"], ["c.csv"]]
    maps = groups[0].maps(groups[0].first.preview.mapping)
    assert set(maps) == {"a.ris", "b.ris"}
    assert all(one.title for one in maps.values())


def test_a_file_without_text_is_left_out_with_its_reason(workspace: Workspace) -> None:
    upload = received(
        workspace,
        File("a.ris", b"TY  - JOUR\nTI  - One title\nER  - \n"),
        File("b.ris", b"TY  - JOUR\nDO  - 10.1/x\nER  - \n"),
    )
    (group,) = uploads.groups_of(upload)
    chosen = group.first.preview.mapping
    if chosen.title is None:
        chosen = ColumnMap(title="title")
    assert "b.ris" not in group.maps(chosen)
    assert "no title or text" in group.without_text(chosen)["b.ris"]


def test_equal_names_are_told_apart_and_old_uploads_go(workspace: Workspace) -> None:
    old = workspace.data / "uploads" / "left-behind"
    old.mkdir(parents=True)
    past = time.time() - uploads.STALE_SECONDS - 60
    os.utime(old, (past, past))
    content = b"title,abstract\nA title,some words of an abstract that is long enough\n"
    upload = received(workspace, File("a.csv", content), File("a.csv", content))
    assert [look.name for look in upload.looks] == ["a.csv", "a.csv (2)"]
    assert not old.exists()
    upload.forget()
    assert list((workspace.data / "uploads").iterdir()) == []


def test_search_looks_at_words_label_and_split(full: Workspace) -> None:
    dataset = datasets.load(full, "cohorts")
    assert searching.find(dataset, "airway") == list(range(1, 60, 3))
    assert searching.find(dataset, "AIRWAY", label="heart") == []
    assert searching.find(dataset, label="skin") == list(range(2, 60, 3))
    tests = searching.find(dataset, split="test")
    assert tests == dataset.positions("test").tolist()
    assert searching.find(dataset, "p7", split=None) == [7]
