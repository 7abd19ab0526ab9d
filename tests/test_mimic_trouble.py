"""MIMIC imports that meet trouble: kept, dropped, cancelled and killed builds, a full disk, and every bad input."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mini_mimic import mimic3, mimic4, write_ids, write_table

from medbench import mimic, mimic_connection, mimic_files
from medbench.errors import MedbenchError, Stopped
from medbench.mimic import Order
from medbench.mimic_feed import Feed, RowCounter
from medbench.mimic_verdict import NOTHING_TO_TRAIN, Verdict
from medbench.workspace import Workspace


def ask(built: tuple[Path, Verdict], query: str) -> list[tuple[Any, ...]]:
    with mimic.opened(built[0]) as con:
        return con.execute(query).fetchall()


# --- kept, dropped, cancelled, full ----------------------------------------------------------------------------


def left_in(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.mimic.iterdir())


def test_an_existing_database_is_kept_unless_dropped(workspace: Workspace, tmp_path: Path) -> None:
    order = Order(mimic3(tmp_path / "m", 3), "iii")
    path, verdict = mimic.build(workspace, order)
    born = path.stat().st_mtime_ns
    assert mimic.build(workspace, order) == (path, verdict)
    assert path.stat().st_mtime_ns == born
    assert mimic.build(workspace, order, drop=True)[0] == path
    assert path.stat().st_mtime_ns > born
    assert left_in(workspace) == [path.name]
    assert mimic.find(workspace, "mimic-iii") == path
    with pytest.raises(MedbenchError, match=r"found 'other'. Choose one of these: mimic-iii-"):
        mimic.find(workspace, "other")


def test_a_cancel_leaves_nothing_behind_wherever_it_comes(workspace: Workspace, tmp_path: Path) -> None:
    folder = mimic3(tmp_path / "m", 3)
    sentences: list[str] = []
    mimic.build(workspace, Order(folder, "iii", name="whole"), say=lambda share, sentence: sentences.append(sentence))
    assert any(sentence == "Loading noteevents: 13 rows." for sentence in sentences)
    for word in ("Checking", "Loading noteevents", "Grouping", "Writing notes"):
        stop = threading.Event()

        def tell(share: float, sentence: str, word: str = word, stop: threading.Event = stop) -> None:
            if sentence.startswith(word):
                stop.set()

        with pytest.raises(Stopped):
            mimic.build(workspace, Order(folder, "iii"), drop=True, say=tell, stop=stop)
    assert [name for name in left_in(workspace) if not name.startswith("whole-")] == []


def test_a_statement_that_runs_when_the_user_cancels_ends_as_cancelled(tmp_path: Path) -> None:
    stop = threading.Event()
    with (
        pytest.raises(Stopped),
        mimic_connection.connected(tmp_path) as con,
        mimic_connection.interrupting(con, stop),
    ):
        stop.set()
        con.execute("SELECT count(*) FROM range(1_000_000_000) AS a, range(1_000_000_000) AS b WHERE a.range > b.range")


FULL = """
import resource, sys
from pathlib import Path
from medbench import mimic, mimic_connection, mimic_files
from medbench.errors import MedbenchError
from medbench.workspace import Workspace
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    mimic.build(Workspace.here(Path(sys.argv[1])), mimic.Order(Path(sys.argv[2]), "iii"))
except MedbenchError as error:
    print(error)
"""


def test_a_full_disk_is_said_and_leaves_nothing_behind(workspace: Workspace, tmp_path: Path) -> None:
    folder = mimic3(tmp_path / "m", 2_000)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(workspace.data.parent), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Expected room on the disk, found a full one"), done.stdout + done.stderr
    assert left_in(workspace) == []


def test_what_a_killed_build_left_is_cleared_away(workspace: Workspace, tmp_path: Path) -> None:
    left = workspace.mimic / ".mimic-iii-0123456789.x.building"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "build.duckdb").write_bytes(b"half")
    path, _ = mimic.build(workspace, Order(mimic3(tmp_path / "m", 3), "iii"))
    assert left_in(workspace) == [path.name]


# --- bad input, one sentence each ------------------------------------------------------------------------------


def refused(workspace: Workspace, order: Order) -> str:
    with pytest.raises(MedbenchError) as told:
        mimic.build(workspace, order)
    assert not workspace.mimic.exists() or left_in(workspace) == []
    return str(told.value)


def test_a_wrong_folder_is_told_from_a_wrong_version_and_a_missing_table(workspace: Workspace, tmp_path: Path) -> None:
    assert "found nothing there" in refused(workspace, Order(tmp_path / "none", "iii"))
    (tmp_path / "empty").mkdir()
    assert "the folder of a MIMIC-III download, found none of the files" in refused(
        workspace, Order(tmp_path / "empty", "iii")
    )
    folder = mimic4(tmp_path / "four", 3)
    assert refused(workspace, Order(folder, "iii")).endswith("Choose MIMIC-IV, the version iv.")
    (folder / "hosp" / "procedures_icd.csv.gz").unlink()
    assert "found no file for procedures_icd" in refused(workspace, Order(folder, "iv"))


def test_missing_columns_and_empty_files_are_named(workspace: Workspace, tmp_path: Path) -> None:
    folder = mimic3(tmp_path / "m", 3, packed=False, upper=False)
    write_table(folder, "patients", ("subject_id", "gender"), [(101, "F")])
    assert "no column dob" in refused(workspace, Order(folder, "iii"))
    (folder / "patients.csv").write_text("")
    assert "an empty file" in refused(workspace, Order(folder, "iii"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "open quote", "keys"])
def test_a_damaged_file_is_told_by_name(workspace: Workspace, tmp_path: Path, damage: str) -> None:
    folder = mimic3(tmp_path / "m", 400)
    path = folder / "NOTEEVENTS.csv.gz"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        path.write_bytes(data[:-2000] + bytes(255 - byte for byte in data[-2000:-1900]) + data[-1900:])
    elif damage == "open quote":
        path.write_bytes(gzip.compress(gzip.decompress(data)[:-40] + b'"Discharge'))
    else:
        path.write_bytes(gzip.compress(gzip.decompress(data).replace(b",100101,", b",one hundred,")))
    assert "NOTEEVENTS.csv.gz" in refused(workspace, Order(folder, "iii"))


def rewritten(folder: Path, name: str, change: Any) -> None:
    path = folder / f"{name.upper()}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    write_table(folder, name, header, [[*row[:-1], change(row[-1])] for row in rows], packed=True, upper=True)


def bare(code: str) -> str:
    """What a spreadsheet makes of a code."""
    return code.lstrip("0")


def test_codes_that_lost_their_zeros_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    folder = mimic3(tmp_path / "m", 300)
    mimic.build(workspace, Order(folder, "iii", name="good"))[0].unlink()
    rewritten(folder, "diagnoses_icd", bare)
    assert "606 codes and not one that begins with 0" in refused(workspace, Order(folder, "iii"))
    small = mimic3(tmp_path / "s", 6)
    rewritten(small, "procedures_icd", bare)
    assert "'66', too short for a code" in refused(workspace, Order(small, "iii"))
    floats = mimic3(tmp_path / "f", 6)
    rewritten(floats, "diagnoses_icd", lambda code: f"{code}.0" if code.isdecimal() else code)
    assert "Take the original files" in refused(workspace, Order(floats, "iii"))


def test_a_split_file_that_does_not_fit_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    order = Order(mimic3(tmp_path / "m", 3), "iii")
    strange = write_ids(tmp_path / "x.csv", [["hadm_id", "split"], [5, "train"]])
    assert "for example 5" in refused(workspace, replace(order, split_ids=(strange,)))
    blank = write_ids(tmp_path / "y.csv", [["hadm_id", "age"], [100_101, "old"]])
    assert "no column of splits" in refused(workspace, replace(order, split_ids=(blank,)))
    twice = write_ids(tmp_path / "z.csv", [["hadm_id", "split"], [100_101, "train"], [100_101, "test"]])
    assert "100101 in train and in test" in refused(workspace, replace(order, split_ids=(twice,)))


def test_a_folder_without_notes_says_what_it_is_good_for(workspace: Workspace, tmp_path: Path) -> None:
    folder = mimic4(tmp_path / "m", 3, notes=tmp_path / "notes")
    path, verdict = mimic.build(workspace, Order(folder, "iv"))
    assert NOTHING_TO_TRAIN in verdict.left_out
    assert any("MIMIC-IV-Note" in sentence for sentence in verdict.left_out)
    assert verdict.codes["icd10cm"] > 0
    both = mimic.build(workspace, Order(folder, "iv", notes=tmp_path / "notes"))
    assert both[0] != path
    assert both[1].can_train


def test_windows_line_ends_and_unpacked_lower_case_files_read_the_same(workspace: Workspace, tmp_path: Path) -> None:
    built = mimic.build(workspace, Order(mimic3(tmp_path / "a", 20), "iii"))
    plain = mimic3(tmp_path / "b", 20, packed=False, upper=False)
    for path in plain.glob("*_icd.csv"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    other = mimic.build(workspace, Order(plain, "iii", name="other"))
    query = "SELECT * FROM facts ORDER BY hadm_id"
    assert ask(built, query) == ask(other, query)


def test_the_row_counter_knows_quotes_and_the_end() -> None:
    rows = [["a", 'x"y\n"z'], ["b\n\n", ""], ["c", "d"]]
    text = "h,i\n" + "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)
    for piece in (1, 2, 3, 100):
        counter = RowCounter()
        data = text.encode()
        for place in range(0, len(data), piece):
            counter.add(data[place : place + piece])
        assert counter.rows == 3
        assert not counter.in_quotes
    counter = RowCounter()
    counter.add(b'h,i\n1,2\n3,"4')
    assert counter.rows == 2
    assert counter.in_quotes


def test_a_reader_that_fails_before_it_reads_leaves_nobody_waiting(tmp_path: Path) -> None:
    table = mimic_files.look(mimic3(tmp_path / "m", 300), "iii").tables["noteevents"]
    for _ in range(50):
        with (
            pytest.raises(ZeroDivisionError),
            Feed(table, tmp_path / "pipe", threading.Event(), lambda read, rows: None),
        ):
            raise ZeroDivisionError
    assert not (tmp_path / "pipe").exists()
