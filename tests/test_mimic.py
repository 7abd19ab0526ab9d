"""MIMIC downloads become databases: every peculiarity of the sources, counts, splits, pairs, and what goes wrong."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mini_mimic import mimic3, mimic4, write_ids

from medbench import datasets, mimic, mimic_dataset, mimic_files, mimic_schema
from medbench.errors import MedbenchError
from medbench.mimic import Order
from medbench.mimic_verdict import NOTHING_TO_TRAIN, Verdict
from medbench.workspace import Workspace


@pytest.fixture(scope="module")
def home_of_both(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.here(tmp_path_factory.mktemp("mimic"))


@pytest.fixture(scope="module")
def three(home_of_both: Workspace) -> tuple[Path, Verdict]:
    folder = mimic3(home_of_both.data.parent / "three")
    return mimic.build(home_of_both, Order(folder, "iii"))


@pytest.fixture(scope="module")
def four(home_of_both: Workspace) -> tuple[Path, Verdict]:
    folder = mimic4(home_of_both.data.parent / "four")
    return mimic.build(home_of_both, Order(folder, "iv"))


def ask(built: tuple[Path, Verdict], query: str) -> list[tuple[Any, ...]]:
    with mimic.opened(built[0]) as con:
        return con.execute(query).fetchall()


def text_of(built: tuple[Path, Verdict], hadm: int) -> str:
    ((text,),) = ask(built, f"SELECT text FROM facts WHERE hadm_id = {hadm}")
    return str(text)


def codes_of(built: tuple[Path, Verdict], hadm: int) -> list[tuple[str, str]]:
    query = f"SELECT kind, label FROM codes WHERE hadm_id = {hadm} ORDER BY kind, {mimic_schema.CODE_ORDER}"
    return [(str(kind), str(label)) for kind, label in ask(built, query)]


# --- the peculiarities, one each -------------------------------------------------------------------------------


def test_addenda_follow_their_report_in_order_with_one_kind_of_line_end(three: tuple[Path, Verdict]) -> None:
    assert text_of(three, 200_001) == 'Said "no pain".\nHome.\n\n\nADDENDUM one\n\nADDENDUM two'
    assert "Addenda and further notes joined to the first note of their admission: 2." in three[1].left_out


def test_an_addendum_of_mimic_iv_follows_its_report_wherever_it_stands(four: tuple[Path, Verdict]) -> None:
    assert text_of(four, 20_000_001) == 'Report, "quoted",\nsecond line\n\nADDENDUM'


def test_notes_marked_as_wrong_are_not_read(three: tuple[Path, Verdict]) -> None:
    assert text_of(three, 200_002) == "Right note, sugars fine."
    assert "Discharge notes marked as wrong by their authors: 1." in three[1].left_out


def test_a_note_that_stands_twice_is_said_once(three: tuple[Path, Verdict]) -> None:
    assert text_of(three, 200_003) == "Twice the same."


@pytest.mark.parametrize("hadm", [200_004, 200_005], ids=["blank", "nursing"])
def test_blank_notes_and_other_kinds_make_no_text(three: tuple[Path, Verdict], hadm: int) -> None:
    assert ask(three, f"SELECT * FROM facts WHERE hadm_id = {hadm}") == []
    assert "Blank discharge notes: 1." in three[1].left_out
    assert "Notes of another kind than discharge summary: 1." in three[1].left_out


def test_a_note_outside_an_admission_is_left_out_and_said(three: tuple[Path, Verdict]) -> None:
    assert ask(three, "SELECT * FROM facts WHERE text = 'Outside an admission'") == []
    assert "Discharge notes outside an admission: 1." in three[1].left_out


def test_the_tables_keep_every_cell_as_it_stands(three: tuple[Path, Verdict]) -> None:
    assert ask(three, "SELECT text FROM noteevents WHERE row_id = 901") == [('Said "no pain".\r\nHome.\r',)]
    assert ask(three, "SELECT count(*) FROM diagnoses_icd WHERE icd9_code = '0389'")[0][0] > 0


def test_codes_stand_dotted_in_the_order_of_their_rank_once_each(three: tuple[Path, Verdict]) -> None:
    assert codes_of(three, 200_001) == [
        ("diagnosis", "icd9cm:038.9"),
        ("diagnosis", "icd9cm:250.00"),
        ("diagnosis", "icd9cm:E849.5"),
        ("diagnosis", "icd9cm:719.70"),
        ("diagnosis", "icd9cm:471.1"),
        ("diagnosis", "icd9cm:V10.83"),  # without a rank: last
        ("procedure", "icd9pcs:00.66"),
        ("procedure", "icd9pcs:47.11"),  # 4711 again, of another kind
    ]
    assert "Codes listed again in their admission, counted once: 1." in three[1].left_out
    assert "Codes without a rank, put last: 1." in three[1].left_out
    assert "Rows of codes without a code, an admission or an ICD version: 1." in three[1].left_out


def test_revisions_mix_in_one_admission_of_mimic_iv(four: tuple[Path, Verdict]) -> None:
    assert codes_of(four, 20_000_001) == [
        ("diagnosis", "icd10cm:A41.9"),  # lower case in the file
        ("diagnosis", "icd9cm:428.0"),  # padded with blanks in the file
        ("diagnosis", "icd10cm:I10"),
        ("procedure", "icd10pcs:0DTJ4ZZ"),  # no dot
        ("procedure", "icd9pcs:47.11"),
    ]


def test_a_code_in_no_dictionary_is_kept_without_a_text(three: tuple[Path, Verdict]) -> None:
    assert ask(three, "SELECT title FROM codes WHERE label = 'icd9cm:719.70'") == [(None,)]
    assert ask(three, "SELECT any_value(title) FROM codes WHERE label = 'icd9cm:038.9'") == [
        ("Unspecified septicemia",)
    ]
    assert "Different codes in no dictionary of MIMIC, kept without a text: 1." in three[1].left_out


def test_ages_over_89_are_90(three: tuple[Path, Verdict], four: tuple[Path, Verdict]) -> None:
    assert ask(three, "SELECT DISTINCT age FROM facts WHERE subject_id = 7") == [(90,)]  # born 300 years ago
    assert ask(three, "SELECT DISTINCT age FROM facts WHERE subject_id = 101") == [(60,)]
    assert ask(four, "SELECT age FROM facts WHERE subject_id = 10000007") == [(90,)]  # 91 in the file
    assert ask(four, "SELECT age FROM facts WHERE subject_id = 10000101") == [(62,)]  # 60 in 2148


# --- counts, choice, splits, pairs -----------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, int]:
    """Rows of every file, counted by Python's own reader."""
    counts = {}
    for path in folder.rglob("*.csv*"):
        opener: Any = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            counts[path.name.split(".")[0].lower()] = sum(1 for _ in csv.reader(file)) - 1
    return counts


@pytest.mark.parametrize("which", ["three", "four"])
def test_every_table_has_the_rows_of_its_file(
    which: str, home_of_both: Workspace, request: pytest.FixtureRequest
) -> None:
    path, verdict = request.getfixturevalue(which)
    files = files_of(home_of_both.data.parent / which)
    assert {table.name: table.kept for table in verdict.tables} == files
    assert {table.name: table.rows for table in verdict.tables} == files
    for name, rows in files.items():
        assert ask((path, verdict), f"SELECT count(*) FROM {name}") == [(rows,)]


@pytest.mark.parametrize(("folder", "version"), [("mimic3_demo", "iii"), ("mimic4_demo", "iv")])
def test_100_patients_of_the_open_demos_load_with_the_counts_of_their_files(
    shared: Path, workspace: Workspace, folder: str, version: mimic_files.Version
) -> None:
    path, verdict = mimic.build(workspace, Order(shared / "icd" / folder, version, patients=100))
    files = files_of(shared / "icd" / folder)
    files.pop("demo_subject_id", None)
    assert {table.name: table.kept for table in verdict.tables} == files
    assert verdict.patients == 100
    assert NOTHING_TO_TRAIN in verdict.left_out
    assert not verdict.can_train
    split = dict(ask((path, verdict), "SELECT split, count(DISTINCT subject_id) FROM splits GROUP BY 1"))
    assert split == {"train": 80, "validation": 10, "test": 10}
    with pytest.raises(MedbenchError, match="there are no discharge notes"):
        mimic_dataset.to_dataset(workspace, path, mimic_dataset.Wish(), name="x", clean_label=str)


def test_patients_with_notes_come_first_and_only_their_rows(
    three: tuple[Path, Verdict], home_of_both: Workspace
) -> None:
    order = Order(home_of_both.data.parent / "three", "iii", patients=10)
    built = mimic.build(home_of_both, order)
    assert ask(built, "SELECT count(*), bool_and(has_note) FROM chosen") == [(10, True)]
    for table in built[1].tables:
        if not table.name.startswith("d_"):
            assert 0 < table.kept < table.rows
            outside = f"SELECT count(*) FROM {table.name} WHERE subject_id NOT IN (SELECT subject_id FROM chosen)"
            assert ask(built, outside) == [(0,)]
    lost = sum(table.rows - table.kept for table in built[1].tables)
    assert f"Rows of patients that were not chosen: {lost:,}." in built[1].left_out
    assert built[1] == mimic.verdict_of(built[0])
    other = mimic.build(home_of_both, replace(order, seed=1))
    assert ask(other, "SELECT subject_id FROM chosen ORDER BY 1") != ask(
        built, "SELECT subject_id FROM chosen ORDER BY 1"
    )
    # 31 patients of 32 have a usable note: all of them stand before the one without.
    most = mimic.build(home_of_both, replace(order, patients=31))
    assert ask(most, "SELECT 8 IN (SELECT subject_id FROM chosen)") == [(False,)]
    assert three[1].noted == 31
    assert three[1].patients == 32


def test_splits_are_80_10_10_by_patient_and_rebuilt_by_views(three: tuple[Path, Verdict]) -> None:
    counts = dict(ask(three, "SELECT split, count(DISTINCT subject_id) FROM facts GROUP BY 1"))
    assert counts == {"train": 25, "validation": 3, "test": 3}  # of 31 with notes
    torn = "SELECT subject_id FROM splits GROUP BY 1 HAVING count(DISTINCT split) > 1"
    assert ask(three, torn) == []
    for split in counts:
        query = f"SELECT count(*) FROM {split}"
        assert ask(three, query) == ask(three, f"SELECT count(*) FROM facts WHERE split = '{split}'")
    assert sum(three[1].splits.values()) == three[1].coded


def test_pairs_ask_for_the_codes_and_answer_with_them(three: tuple[Path, Verdict]) -> None:
    ((prompt, completion),) = ask(three, "SELECT prompt, completion FROM pairs WHERE hadm_id = 200001")
    assert prompt.startswith('Predict the medical codes for the following text: Said "no pain".')
    assert completion == "038.9, 250.00, E849.5, 719.70, 471.1, V10.83, 00.66, 47.11"
    assert ask(three, "SELECT count(*) FROM pairs") == [(three[1].coded,)]
    assert "Admissions with a note and no code: 2." in three[1].left_out  # 200002 and 200003


def test_published_splits_are_used_whatever_their_ids_mean(home_of_both: Workspace, three: Any, tmp_path: Path) -> None:
    order = Order(home_of_both.data.parent / "three", "iii")
    by_stay = write_ids(tmp_path / "s.csv", [["_id", "split"], [100_101, "train"], [100_102, "val"], [100_103, "test"]])
    built = mimic.build(home_of_both, replace(order, split_ids=(by_stay,)))
    assert sorted(ask(built, "SELECT hadm_id, split FROM splits")) == [
        (100_101, "train"),
        (100_102, "validation"),
        (100_103, "test"),
    ]
    assert "Splits are those of s.csv." in built[1].left_out
    missing = built[1].notes - 3
    assert any(sentence.endswith(f"left out of them: {missing}.") for sentence in built[1].left_out)
    caml = [
        write_ids(tmp_path / f"{name}_full_hadm_ids.csv", [[hadm]])
        for name, hadm in (("train", 100_104), ("dev", 100_105))
    ]
    built = mimic.build(home_of_both, replace(order, split_ids=tuple(caml)))
    assert sorted(ask(built, "SELECT hadm_id, split FROM splits")) == [(100_104, "train"), (100_105, "validation")]
    by_patient = write_ids(tmp_path / "p.csv", [["subject_id", "split"], [7, "test"], [101, "train"]])
    built = mimic.build(home_of_both, replace(order, split_ids=(by_patient,)))
    assert set(ask(built, "SELECT DISTINCT hadm_id FROM test")) == {(200_001,), (200_002,), (200_003,)}


def test_published_note_ids_and_a_torn_patient(home_of_both: Workspace, four: Any, tmp_path: Path) -> None:
    order = Order(home_of_both.data.parent / "four", "iv")
    rows: list[list[object]] = [["note_id", "split"], ["10000101-DS-1", "train"], ["10000007-DS-3", "test"]]
    built = mimic.build(home_of_both, replace(order, split_ids=(write_ids(tmp_path / "n.csv", rows),)))
    assert sorted(ask(built, "SELECT hadm_id, split FROM splits")) == [(20_000_001, "test"), (20_000_101, "train")]
    stays = Order(home_of_both.data.parent / "three", "iii")
    rows = [["hadm_id", "split"], [200_001, "train"], [200_002, "test"]]
    torn = mimic.build(home_of_both, replace(stays, split_ids=(write_ids(tmp_path / "t.csv", rows),)))
    assert any(
        sentence.startswith("Patients in more than one") and sentence.endswith(" 1.") for sentence in torn[1].left_out
    )


def test_a_database_becomes_a_dataset_with_its_splits_and_patients(home_of_both: Workspace, three: Any) -> None:
    wish = mimic_dataset.Wish("diagnosis", min_count=5)
    dataset_id, told = mimic_dataset.to_dataset(home_of_both, three[0], wish, name="m3", clean_label=str.strip)
    saved = datasets.load(home_of_both, dataset_id)
    assert saved.task == "icd"
    assert saved.answer == "many"
    assert "icd9cm:038.9" in saved.labels
    assert all(label.startswith("icd9cm:") for label in saved.labels)
    assert saved.label_names["icd9cm:038.9"] == "Unspecified septicemia"
    frame = saved.frame().set_index("id")
    splits = dict(ask(three, "SELECT hadm_id::VARCHAR, split FROM facts"))
    assert {hadm: splits[hadm] for hadm in frame.index} == dict(frame["split"])
    assert frame.loc["200001", "group"] == "7"
    counts = frame["labels"].explode().value_counts()
    assert counts.min() >= 5
    assert any("Codes in fewer than 5 admissions" in sentence for sentence in told)


def test_only_the_asked_codes_become_labels(home_of_both: Workspace, four: Any) -> None:
    for wish, versions in (
        (mimic_dataset.Wish(icd="10"), {"icd10cm", "icd10pcs"}),
        (mimic_dataset.Wish("procedure"), {"icd9pcs", "icd10pcs"}),
        (mimic_dataset.Wish("procedure", "10"), {"icd10pcs"}),
    ):
        dataset_id, _ = mimic_dataset.to_dataset(home_of_both, four[0], wish, name="m4", clean_label=str.strip)
        labels = datasets.load(home_of_both, dataset_id).labels
        assert {label.split(":")[0] for label in labels} == versions


# --- the command line ------------------------------------------------------------------------------------------


def test_the_command_line_builds_prepares_and_counts_tokens(home: Workspace, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from medbench.cli import app

    runner = CliRunner()
    folder = str(mimic3(tmp_path / "m"))
    built = runner.invoke(app, ["import", "mimic", folder, "--version", "iii", "--patients", "20"])
    assert built.exit_code == 0, built.output
    assert Path(built.stdout.strip()).is_file()
    assert "20 patients, 20 with a discharge note" in built.stderr
    ready = runner.invoke(app, ["prepare", folder, "--version", "3", "--codes", "diagnosis", "--json"])
    assert ready.exit_code == 0, ready.output
    facts = json.loads(ready.stdout)
    assert datasets.load(home, facts["dataset"]).task == "icd"
    assert facts["tokens"]["pairs"] == 31
    again = runner.invoke(app, ["tokens", "mimic-iii", "--json"])
    assert json.loads(again.stdout)["tokens"] == facts["tokens"]["tokens"]
    wrong = runner.invoke(app, ["import", "mimic", folder, "--version", "v"])
    assert wrong.exit_code == 2
    assert "version iii or iv" in wrong.stderr


def test_tokens_are_those_of_the_tokenizer(home_of_both: Workspace, three: Any) -> None:
    import pyarrow.parquet as parquet
    from tokenizers import Tokenizer

    from medbench.families import _bases
    from medbench.mimic_tokens import tokenise

    folder = _bases.obtain(_bases.MINILM)
    count = tokenise(three[0], folder)
    rows = {row["hadm_id"]: row for row in parquet.read_table(count.path).to_pylist()}
    assert len(rows) == count.pairs == three[1].coded
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ((prompt, completion),) = ask(three, "SELECT prompt, completion FROM pairs WHERE hadm_id = 200001")
    assert rows[200_001]["prompt"] == tokenizer.encode(prompt, add_special_tokens=False).ids
    assert tokenizer.decode(rows[200_001]["completion"]).replace(" ", "").upper() == completion.replace(" ", "")
    assert count.tokens == sum(len(row["prompt"]) + len(row["completion"]) for row in rows.values())
    kept = tokenise(three[0], folder)
    assert (kept.tokens, kept.seconds) == (count.tokens, 0.0)
    with pytest.raises(MedbenchError, match=r"no tokenizer\.json in it"):
        tokenise(three[0], three[0].parent)
