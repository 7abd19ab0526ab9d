"""The datasets page with pictures: from a dropped zip or a named folder to a dataset that can be looked at."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from drawn_pictures import blob, encoded, ham_zip, zipped
from pages_at_work import opened, words_on
from streamlit.testing.v1 import AppTest

from medbench import datasets
from medbench.drafting_images import draft_images
from medbench.tasks import get_task
from medbench.workspace import Workspace

PAGE = "pages/datasets.py"
TASK = get_task("lesion")


def drop(*files: Path) -> AppTest:
    """Open the page on the lesion job and drop files on it."""
    app = opened(PAGE, add="1", task="lesion")
    app.file_uploader[0].set_value([(file.name, file.read_bytes(), "application/octet-stream") for file in files])
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def choose(app: AppTest, key: str, value: str) -> AppTest:
    app.segmented_control(key=key).set_value(value)
    app.run()
    assert not app.exception
    assert not app.error
    return app


def only(workspace: Workspace) -> datasets.Dataset:
    (card,) = datasets.list_datasets(workspace)
    return datasets.load(workspace, str(card["id"]))


def test_the_empty_page_says_what_to_drop(home: Workspace) -> None:
    app = opened(PAGE, add="1", task="lesion")
    assert not app.error
    assert "HAM10000 and ISIC files are understood as they are" in words_on(app)
    text = opened(PAGE, add="1")
    assert text.segmented_control(key="add_task").value == "literature"
    choose(text, "add_task", "lesion")
    assert "one folder per class" in words_on(text)


def test_a_dropped_zip_becomes_a_dataset(home: Workspace, tmp_path: Path) -> None:
    app = press(drop(ham_zip(tmp_path / "ham.zip")), "pictures_check")
    assert not app.error
    shown = words_on(app)
    assert "Pictures read as they stand" in shown
    assert "6 pictures repeat a lesion" in shown
    choose(app, "pictures_section", "Plots")
    assert len(app.get("vega_lite_chart")) == 1
    choose(app, "pictures_section", "Gallery")
    assert "24 pictures" in words_on(app)
    assert len(app.get("image")) == 2 * 24
    press(app, "pictures_save")
    dataset = only(home)
    assert (dataset.item, dataset.name, len(dataset)) == ("image", "ham", 24)
    assert f"Saved. Cite it as {dataset.id}." in words_on(app)
    assert list((home.data / "uploads").iterdir()) == []


def test_a_named_folder_is_read_where_it_lies(home: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with zipfile.ZipFile(ham_zip(tmp_path / "ham.zip")) as packed:
        packed.extractall(folder)
    before = sorted(folder.rglob("*"))
    app = opened(PAGE, add="1", task="lesion")
    app.text_input(key="pictures_folder_0").set_value(str(folder)).run()
    press(press(app, "pictures_check"), "pictures_save")
    assert only(home).name == "mine"
    assert sorted(folder.rglob("*")) == before
    gone = opened(PAGE, add="1", task="lesion")
    gone.text_input(key="pictures_folder_0").set_value(str(tmp_path / "gone")).run()
    assert "found no file 'gone'" in words_on(press(gone, "pictures_check"))


def test_another_column_can_be_chosen_and_the_change_is_noticed(home: Workspace, tmp_path: Path) -> None:
    app = press(drop(ham_zip(tmp_path / "ham.zip")), "pictures_check")
    app.selectbox(key="pictures_labels").set_value("dx_type").run()
    assert "The columns have changed since the check." in words_on(app)
    press(app, "pictures_check")
    assert app.session_state["pictures_checked"].draft.labels == ("follow_up", "histo")


def test_a_split_by_picture_warns_and_is_remembered(home: Workspace, tmp_path: Path) -> None:
    app = press(drop(ham_zip(tmp_path / "ham.zip", 60)), "pictures_check")
    assert app.segmented_control(key="pictures_split_method").value == "group"
    choose(app, "pictures_split_method", "image")
    assert "15 lesions with several pictures can land on both sides" in words_on(app)
    press(app, "pictures_save")
    dataset = only(home)
    assert "torn_groups" in {one.kind for one in dataset.findings}
    assert "by picture: lesions are torn apart" in words_on(app)


@pytest.mark.parametrize("content", [b"no zip", b"PK\x03\x04 half of one"])
def test_a_bad_zip_is_one_sentence(home: Workspace, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.zip"
    path.write_bytes(content)
    app = press(drop(path), "pictures_check")
    assert "bad.zip" in words_on(app)
    assert len(app.error) == 1
    assert datasets.list_datasets(home) == []


def test_bad_pictures_are_listed_with_their_reason(home: Workspace, tmp_path: Path) -> None:
    members = {f"{at}.jpg": encoded(blob(at)) for at in range(3)}
    app = press(drop(zipped(tmp_path / "p.zip", {**members, "note.jpg": b"hello"})), "pictures_check")
    assert "Repaired, refused or left out: where and why (1)" in [one.label for one in app.expander]
    assert "text file 'note.jpg'" in str(app.dataframe[0].value.to_dict())
    assert "The pictures can be classified, not trained on" in words_on(app)


@pytest.fixture
def saved(home: Workspace, tmp_path: Path) -> datasets.Dataset:
    """A saved dataset of 30 pictures."""
    path = ham_zip(tmp_path / "ham.zip", 30)
    about = {"task_name": TASK.name, "clean_label": TASK.clean_label, "label_name": TASK.label_name}
    draft = draft_images([(path, path.name)], **about, keep=tmp_path / "keep")
    return datasets.load(home, datasets.save(home, draft, name="ham"))


def test_the_gallery_filters_and_turns_pages(saved: datasets.Dataset) -> None:
    app = choose(opened(PAGE, dataset=saved.id), "opened_section", "Gallery")
    assert "30 pictures" in words_on(app)
    assert len(app.get("image")) == 2 * 24
    frame = saved.frame()
    app.selectbox(key=f"gallery_label_{saved.id}").set_value("mel").run()
    app.selectbox(key=f"gallery_site_{saved.id}").set_value("face").run()
    wanted = [label == ["mel"] and site == "face" for label, site in zip(frame["labels"], frame["x_localization"])]  # noqa: B905
    assert f"{sum(wanted)} picture" in words_on(app)
    app.selectbox(key=f"gallery_split_{saved.id}").set_value("test").run()
    assert not app.exception
    assert not app.error


def test_the_gallery_opens_the_pictures_of_a_finding(saved: datasets.Dataset) -> None:
    telling = [one for one in saved.findings if one.rows]
    number = next(at for at, one in enumerate(telling) if one.kind == "repeated_lesions")
    app = choose(opened(PAGE, dataset=saved.id), "opened_section", "Gallery")
    app.selectbox(key=f"gallery_finding_{saved.id}").set_value(number).run()
    assert f"{telling[number].count} pictures" in words_on(app)


@pytest.mark.parametrize("section", ["Verdict", "Plots", "Rows", "Card"])
def test_every_section_of_a_saved_dataset_is_drawn(saved: datasets.Dataset, section: str) -> None:
    app = opened(PAGE, dataset=saved.id)
    assert "Lesions" in words_on(app)
    if section != "Verdict":
        choose(app, "opened_section", section)
    assert not app.error


@pytest.mark.parametrize("plot", ["Class", "Age", "Sex", "Site"])
def test_every_plot_is_drawn(saved: datasets.Dataset, plot: str) -> None:
    app = choose(opened(PAGE, dataset=saved.id), "opened_section", "Plots")
    if plot != "Class":
        choose(app, f"plot_{saved.id}", plot)
    assert len(app.get("vega_lite_chart")) == 1


def test_the_list_shows_pictures_beside_texts(saved: datasets.Dataset) -> None:
    app = opened(PAGE)
    assert list(app.dataframe[0].value["rows"]) == [30]
