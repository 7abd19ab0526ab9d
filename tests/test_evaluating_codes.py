"""Codes that a model never learnt are missed, not overlooked, when it is judged on a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT

from medbench import evaluating
from medbench.workspace import Workspace

NOTES = (
    ("The patient has arterial hypertension and type 2 diabetes mellitus.", ["I10", "E11.9"]),
    ("High blood pressure, treated for years; no complaints today.", ["I10"]),
    ("He was bitten by a parrot in the garden.", ["W61.01XA"]),
    ("Struck by a duck on the way home; it flew off.", ["W61.62XA", "W61.01XA"]),
)


def evaluated(folder: Path, notes: tuple[tuple[str, list[str]], ...]) -> evaluating.Evaluation:
    file = folder / "notes.jsonl"
    file.write_text("\n".join(json.dumps({"text": text, "codes": codes}) for text, codes in notes))
    place = Workspace(folder, ROOT / "models")
    return evaluating.evaluate_file(place, "starter-icd", file, chosen={"labels": "codes", "text": "text"}, n_boot=10)


def test_notes_with_unknown_codes_only_are_judged_and_missed(tmp_path: Path) -> None:
    known, every = evaluated(tmp_path, NOTES[:2]), evaluated(tmp_path, NOTES)
    assert (every.judged, every.unlabelled) == (4, 0)
    assert every.unknown_labels == {"icd10cm:W61.01XA": 2, "icd10cm:W61.62XA": 1}
    assert known.metrics["micro_recall"].value > 0
    # The same true codes are found, of 3 in the first file and of 6 in the second.
    assert every.metrics["micro_recall"].value == pytest.approx(known.metrics["micro_recall"].value * 3 / 6)
    assert every.codes is not None
    for name in ("micro_f1", "micro_precision", "micro_recall", "exact_match"):
        assert every.codes["full"][name]["value"] == pytest.approx(every.metrics[name].value, abs=1e-4)
    assert not {row["label"] for row in every.per_label} & set(every.unknown_labels)
    assert any("they count as missed" in note for note in every.notes)


def test_notes_without_any_code_are_left_out(tmp_path: Path) -> None:
    found = evaluated(tmp_path, (*NOTES, ("Nothing to report.", [])))
    assert (found.judged, found.unlabelled) == (4, 1)
