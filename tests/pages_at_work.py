"""What the tests of pages share: a small dataset, the app run in memory, and everything a reader sees on it."""

from __future__ import annotations

import csv
from pathlib import Path

from conftest import HUNG
from streamlit.testing.v1 import AppTest

from medbench import datasets
from medbench.tasks import get_task
from medbench.workspace import Workspace

APP = str(Path(__file__).resolve().parent.parent / "app.py")
SUBJECTS = {"heart": "cardiac ventricle rhythm", "lung": "airway breath spirometry", "skin": "dermal rash lesion"}


def small_csv(folder: Path, name: str = "cohorts", labelled: bool = True) -> Path:
    """Write sixty small invented rows of three subjects; the last repeats an earlier text."""
    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(["id", "title", "abstract", *(["labels"] if labelled else [])])
        for number in range(60):
            label, words = list(SUBJECTS.items())[number % 3]
            told = 56 if number == 59 else number
            text = f"In {told + 10} patients we measured {words} over {told * 7 % 50 + 1} weeks of care."
            table.writerow([f"p{number}", f"Cohort {told} of {label}", text, *([label] if labelled else [])])
    return path


def make_dataset(workspace: Workspace, folder: Path, name: str = "cohorts", labelled: bool = True) -> str:
    """Save the sixty rows as a dataset; returns its id."""
    path = small_csv(folder, name, labelled)
    task = get_task("literature")
    draft = datasets.draft([(path, path.name)], task_name=task.name, clean_label=task.clean_label)
    return datasets.save(workspace, draft, name=name)


def opened(page: str = "", **query: str) -> AppTest:
    """Run the app, at a page when one is named; no exception may escape."""
    app = AppTest.from_file(APP, default_timeout=HUNG)
    if page:
        app.switch_page(page)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def words_on(app: AppTest) -> str:
    """Everything a reader sees as text, Markdown's escapes taken away."""
    shown = [
        *app.title,
        *app.markdown,
        *app.caption,
        *app.header,
        *app.subheader,
        *app.info,
        *app.success,
        *app.warning,
    ]
    shown += [*app.error, *app.code, *app.text]
    links = [str(link.proto.label) for link in app.get("page_link")]
    pieces = [str(html.proto.body) for html in app.get("html")]
    return "\n".join([*(str(element.value) for element in shown), *links, *pieces]).replace("\\", "")
