"""The datasets page with MIMIC: from a named folder to a database, its verdict, and a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import HUNG
from mini_mimic import mimic3, mimic4
from pages_at_work import opened, words_on
from streamlit.testing.v1 import AppTest

from medbench import datasets, mimic, mimic_jobs
from medbench.errors import MedbenchError
from medbench.mimic import Order
from medbench.workspace import Workspace

PAGE = "pages/datasets.py"


def page() -> AppTest:
    return opened(PAGE, add="1", task="icd", **{"from": "mimic"})


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def finished(workspace: Workspace) -> mimic_jobs.MimicJob:
    job = mimic_jobs.current(workspace)
    assert job is not None
    job.wait(HUNG)
    assert not job.running
    return job


def test_the_empty_page_says_what_to_name(home: Workspace) -> None:
    app = page()
    assert not app.error
    assert "as PhysioNet hands them out" in words_on(app)
    assert "None yet." in words_on(app)
    press(app, "mimic_build")
    assert "Type its path." in app.error[0].value


def test_a_folder_becomes_a_database_with_its_verdict_and_a_dataset(home: Workspace, tmp_path: Path) -> None:
    app = page()
    app.text_input(key="mimic_folder").set_value(str(mimic3(tmp_path / "m"))).run()
    press(app, "mimic_build")
    job = finished(home)
    app = page()
    assert not app.error
    words = words_on(app)
    assert "Addenda and further notes joined to the first note of their admission: 2." in words
    assert "ICD-9-CM diagnoses" in words
    assert len(app.dataframe[0].value) == 7
    app.segmented_control(key="mimic_codes").set_value("diagnosis")
    app.number_input(key="mimic_min_count").set_value(3)
    press(app, "mimic_make")
    job = finished(home)
    assert job.problem is None
    (card,) = datasets.list_datasets(home)
    assert card["id"] == job.dataset
    assert card["task"] == "icd"
    app = page()
    assert app.query_params["dataset"] in (job.dataset, [job.dataset])
    assert mimic_jobs.current(home) is None


def test_a_wrong_folder_is_told_on_the_page(home: Workspace, tmp_path: Path) -> None:
    app = page()
    app.text_input(key="mimic_folder").set_value(str(mimic4(tmp_path / "m", 3))).run()
    press(app, "mimic_build")
    finished(home)
    app = page()
    assert "Choose MIMIC-IV" in app.error[0].value.replace("\\", "")
    assert mimic.databases(home) == []


def test_one_import_at_a_time_and_a_stop_leaves_nothing(home: Workspace, tmp_path: Path) -> None:
    page()  # what the page imports is there, so that the button is drawn while the job is young
    folder = mimic3(tmp_path / "m", 4_000)
    job = mimic_jobs.build(home, Order(folder, "iii"), drop=False)
    with pytest.raises(MedbenchError, match="one MIMIC import at a time"):
        mimic_jobs.build(home, Order(folder, "iii"), drop=False)
    app = page()
    press(app, "mimic_stop")
    finished(home)
    assert job.stopped
    assert list(home.mimic.iterdir()) == []
    assert "Nothing was left behind." in words_on(page())
