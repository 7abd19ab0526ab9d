"""ICD labels through upload: every spelling becomes one label, and what is no code is told."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medbench import datasets, drafting
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.tasks import get_task
from medbench.workspace import Workspace

TASK = get_task("icd")


def written(path: Path, cells: list[str], column: str = "icd_codes") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["hadm_id", "text", column])
        for row, cell in enumerate(cells):
            writer.writerow(
                [f"h{row}", f"Patient number {row} came with a cough and was sent home after {row} days.", cell]
            )
    return path


def drafted(path: Path, choice: str = "") -> drafting.Draft:
    about = {"task_name": "icd", "clean_label": TASK.clean_label, "label_name": TASK.label_name}
    return drafting.draft([(path, path.name)], **about, rules=TASK.rules(choice))


@pytest.mark.parametrize(
    ("written_label", "label"),
    [
        ("E119", "icd10cm:E11.9"),
        ("e11.9", "icd10cm:E11.9"),
        ("25000", "icd9cm:250.00"),
        ("icd9cm:250.00", "icd9cm:250.00"),
        ("  ", ""),
        ("not a code", "not a code"),
    ],
)
def test_one_spelling(written_label: str, label: str) -> None:
    assert TASK.clean_label(written_label) == label
    assert TASK.clean_label(label) == label


def test_names_are_official_and_strangers_say_so() -> None:
    assert TASK.label_name("icd10cm:E11.9") == "Type 2 diabetes mellitus without complications"
    assert TASK.label_name("Z99.999") == "Z99.999 (in no code table)"


def test_separated_bare_codes_become_labels_and_the_rest_is_reported(tmp_path: Path) -> None:
    draft = drafted(written(tmp_path / "a.csv", ["E119,I10", "J18.9, Z99.999", "E11", "i10"]))
    assert draft.frame["labels"].tolist() == [
        ["icd10cm:E11.9", "icd10cm:I10"],
        ["icd10cm:J18.9", "Z99.999"],
        ["icd10cm:E11"],
        ["icd10cm:I10"],
    ]
    assert draft.answer == "many" and draft.label_names["icd10cm:I10"] == "Essential (primary) hypertension"
    told = " ".join(draft.notices)
    assert "1 of 5 labels are in no code table of these releases (Z99.999)" in told
    assert "1 labels are not billable: finer codes exist (icd10cm:E11)" in told
    assert "4 labels are codes of ICD-10-CM, April 2026." in told


def test_a_files_codes_are_of_one_version(tmp_path: Path) -> None:
    # V10.01 and V15.82 read as ICD-9; V10.00XA is ICD-10-CM. Alone, V1001 could be of either table.
    draft = drafted(written(tmp_path / "a.csv", ["25000;4019", "V1582;V1001", "E8490;4280"]))
    assert {label.partition(":")[0] for label in draft.labels} == {"icd9cm"}
    chosen = drafted(written(tmp_path / "b.csv", ["4701;4711", "4719;4620"]), "icd9pcs")
    assert chosen.labels == ("icd9pcs:46.20", "icd9pcs:47.01", "icd9pcs:47.11", "icd9pcs:47.19")
    with pytest.raises(MedbenchError, match="a version of the codes"):
        drafted(tmp_path / "b.csv", "icd8")


def test_zeros_that_a_spreadsheet_took_are_put_back(tmp_path: Path) -> None:
    codes = "4019 25000 4280 41401 42731 486 5849 51881 2724 5990 53081 2449 2859 78552 99592 V1582 311 2760 40390 5859"
    lost = drafted(written(tmp_path / "a.csv", [codes, "389 4019 88.0"]))  # septicemia, 038.9
    assert "icd9cm:038.9" in lost.labels and "icd9cm:088.0" in lost.labels
    kept = drafted(written(tmp_path / "b.csv", [codes, "389 0389 4019"]))
    assert "icd9cm:389" in kept.labels and "icd9cm:038.9" in kept.labels


def test_import_on_the_command_line(home: Workspace, tmp_path: Path) -> None:
    file = written(tmp_path / "notes.csv", ["E119,I10", "J189,E119", "I10", "N179,I10"] * 6)
    result = CliRunner().invoke(app, ["import", str(file), "--task", "icd", "--name", "notes"])
    assert result.exit_code == 0, result.output
    dataset = datasets.load(home, result.stdout.strip())
    assert set(dataset.card["labels"]) == {"icd10cm:E11.9", "icd10cm:I10", "icd10cm:J18.9", "icd10cm:N17.9"}
    assert dataset.card["answer"] == "many" and dataset.card["task"] == "icd"
