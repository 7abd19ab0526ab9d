"""Invented MIMIC downloads of both versions, with the peculiarities of the real ones; for tests and benchmarks.

Column layouts and quirks are those that PhysioNet documents; every patient, note and date is made up.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_HEAD = ("row_id", "subject_id", "hadm_id", "chartdate", "charttime", "storetime", "category", "description")
NOTEEVENTS = (*_HEAD, "cgid", "iserror", "text")
DISCHARGE = ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"]
DIAGNOSES_9 = {
    "0389": "Unspecified septicemia",
    "00845": "Intestinal infection due to Clostridium difficile",
    "25000": "Diabetes mellitus without mention of complication, type II",
    "4280": "Congestive heart failure, unspecified",
    "4019": "Unspecified essential hypertension",
    "4711": "Polypoid sinus degeneration",
    "E8495": "Street and highway accidents",
    "V1083": "Personal history of malignant neoplasm of skin",
}
PROCEDURES_9 = {
    "0066": "Percutaneous transluminal coronary angioplasty",
    "3893": "Venous catheterization",
    "4711": "Lap incidental appendectomy",
}
DIAGNOSES_10 = {
    "A419": "Sepsis, unspecified organism",
    "E119": "Type 2 diabetes mellitus without complications",
    "I10": "Essential (primary) hypertension",
}
PROCEDURES_10 = {"0DTJ4ZZ": "Resection of Appendix, Percutaneous Endoscopic Approach", "02HV33Z": "Insertion of device"}
SENTENCES = {
    "0389": "He was septic, with blood cultures growing gram negative rods.",
    "25000": "Type II diabetes on metformin; sugars stayed below 180.",
    "4280": "Congestive heart failure with an ejection fraction of 30%.",
    "4019": "Hypertension, on lisinopril.",
    "A419": "Admitted with sepsis of unknown source.",
    "E119": "Type 2 diabetes without complications.",
    "I10": "Essential hypertension, well controlled.",
}


def write_table(
    folder: Path,
    name: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    packed: bool = False,
    upper: bool = False,
    quote_all: bool = False,
    ending: str = "\n",
) -> Path:
    """Write one table as CSV; None becomes an empty cell. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.upper() if upper else name}.csv{'.gz' if packed else ''}"
    opened: Any = gzip.open if packed else open
    with (
        opened(path, "wb", *((1,) if packed else ())) as raw,
        io.TextIOWrapper(raw, encoding="utf-8", newline="") as out,
    ):
        how: Any = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
        writer = csv.writer(out, lineterminator=ending, quoting=how)
        writer.writerow([column.upper() if upper else column for column in columns])
        writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return path


def write_ids(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Write a file of published splits."""
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    return path


def mimic3(folder: Path, patients: int = 30, *, packed: bool = True, upper: bool = True) -> Path:
    """Write a MIMIC-III v1.4 download: `patients` plain ones with ids from 101, and patient 7 with every quirk."""
    ids = [101 + place for place in range(patients)]
    stays = [(subject, 100_000 + subject) for subject in ids]
    kinds: dict[str, Any] = {"packed": packed, "upper": upper}
    patient_rows: list[Sequence[Any]] = [(subject, "MF"[subject % 2], "2090-05-04 00:00:00") for subject in ids]
    patient_rows += [(7, "F", "1850-01-01 00:00:00"), (8, "M", "2100-01-01 00:00:00")]  # over 89; without a note
    write_table(folder, "patients", ("row_id", "subject_id", "gender", "dob"), _numbered(patient_rows), **kinds)
    stays_of_7 = [(7, hadm) for hadm in (200_001, 200_002, 200_003, 200_004, 200_005)]
    admissions = [(s, h, "2150-05-04 10:00:00") for s, h in [*stays, *stays_of_7, (8, 200_008)]]
    write_table(folder, "admissions", ("row_id", "subject_id", "hadm_id", "admittime"), _numbered(admissions), **kinds)
    write_table(folder, "noteevents", NOTEEVENTS, [*_plain_notes3(stays), *QUIRKY_NOTES_3], **kinds)
    columns = ("row_id", "subject_id", "hadm_id", "seq_num", "icd9_code")
    codes = [*_plain_codes(stays, list(DIAGNOSES_9)[:5]), *QUIRKY_DIAGNOSES_3, (8, 200_008, 1, "4019")]
    write_table(folder, "diagnoses_icd", columns, _numbered(codes), **kinds, quote_all=True)
    codes = [*_plain_codes(stays, list(PROCEDURES_9)[:2]), (7, 200_001, 1, "0066"), (7, 200_001, 2, "4711")]
    write_table(folder, "procedures_icd", columns, _numbered(codes), **kinds)
    columns = ("row_id", "icd9_code", "short_title", "long_title")
    for name, codes_of in (("d_icd_diagnoses", DIAGNOSES_9), ("d_icd_procedures", PROCEDURES_9)):
        write_table(folder, name, columns, _numbered([(c, t[:20], t) for c, t in codes_of.items()]), **kinds)
    return folder


QUIRKY_NOTES_3: list[Sequence[Any]] = [
    # The second addendum stands first in the file; line ends are Windows'; quotes inside.
    (903, 7, 200_001, "2150-05-12", None, None, "Discharge summary", "Addendum", None, None, "ADDENDUM two"),
    (
        901,
        7,
        200_001,
        "2150-05-10",
        None,
        None,
        "Discharge summary",
        "Report",
        None,
        None,
        'Said "no pain".\r\nHome.\r',
    ),
    (902, 7, 200_001, "2150-05-11", None, None, "Discharge summary", "Addendum", None, None, "ADDENDUM one"),
    (904, 7, 200_002, "2150-05-10", None, None, "Discharge summary", "Report", None, "1", "WRONG PATIENT"),
    (905, 7, 200_002, "2150-05-10", None, None, "Discharge summary", "Report", None, None, "Right note, sugars fine."),
    (906, 7, 200_003, "2150-05-10", None, None, "Discharge summary", "Report", None, None, "Twice the same."),
    (907, 7, 200_003, "2150-05-10", None, None, "Discharge summary", "Report", None, None, "Twice the same."),
    (908, 7, 200_004, "2150-05-10", None, None, "Discharge summary", "Report", None, None, " \n "),
    (909, 7, 200_005, "2150-05-10", None, None, "Nursing ", "Report", None, None, "Nursing note"),
    (910, 7, None, "2150-05-10", None, None, "Discharge summary", "Report", None, None, "Outside an admission"),
]
QUIRKY_DIAGNOSES_3: list[Sequence[Any]] = [
    (7, 200_001, None, "V1083"),
    (7, 200_001, 2, "25000"),
    (7, 200_001, 1, "0389"),
    (7, 200_001, 3, "E8495"),
    (7, 200_001, 4, "71970"),  # in no dictionary
    (7, 200_001, 5, "25000"),  # listed twice
    (7, 200_001, 6, "4711"),  # a procedure, too
    (7, 200_001, None, None),
]


def mimic4(folder: Path, patients: int = 30, *, packed: bool = True, notes: Path | None = None) -> Path:
    """Write a MIMIC-IV download with `hosp/`, `icu/` and `note/`; patient 10000007 has every quirk.

    Args:
        folder: Where.
        patients: Number of plain patients, ids from 10000101.
        packed: As .csv.gz.
        notes: Another folder for MIMIC-IV-Note.
    """
    hosp, kinds = folder / "hosp", {"packed": packed}
    ids = [10_000_101 + place for place in range(patients)]
    stays = [(subject, subject + 10_000_000) for subject in ids]
    quirky = (10_000_007, 20_000_001)
    columns = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
    rows = [(subject, "MF"[subject % 2], 60, 2148, "2011 - 2013", None) for subject in ids]
    write_table(hosp, "patients", columns, [*rows, (quirky[0], "F", 91, 2150, "2011 - 2013", None)], **kinds)
    admissions = [(s, h, "2150-05-04 10:00:00") for s, h in [*stays, quirky]]
    write_table(hosp, "admissions", ("subject_id", "hadm_id", "admittime"), admissions, **kinds)
    columns = ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version")
    nines = _plain_codes(stays[::2], list(DIAGNOSES_9)[:5])
    tens = _plain_codes(stays[1::2], list(DIAGNOSES_10))
    mixed = [(*quirky, 2, "4280   ", 9), (*quirky, 1, "a419", 10), (*quirky, 3, "I10", 10)]
    rows = [*((*row, 9) for row in nines), *((*row, 10) for row in tens), *mixed]
    write_table(hosp, "diagnoses_icd", columns, rows, **kinds)
    columns = ("subject_id", "hadm_id", "seq_num", "chartdate", "icd_code", "icd_version")
    rows = [(*quirky, 1, "2150-05-05", "0DTJ4ZZ", 10), (*quirky, 2, "2150-05-05", "4711", 9)]
    rows += [(s, h, 1, "2150-05-05", "0066", 9) for s, h in stays[::4]]
    write_table(hosp, "procedures_icd", columns, rows, **kinds)
    columns = ("icd_code", "icd_version", "long_title")
    both = [((DIAGNOSES_9, 9), (DIAGNOSES_10, 10)), ((PROCEDURES_9, 9), (PROCEDURES_10, 10))]
    for name, parts in zip(("d_icd_diagnoses", "d_icd_procedures"), both, strict=True):
        write_table(hosp, name, columns, [(c, v, t) for known, v in parts for c, t in known.items()], **kinds)
    write_table(folder / "icu", "icustays", ("subject_id", "hadm_id", "stay_id"), [(*quirky, 30_000_001)], **kinds)
    write_table(notes or folder / "note", "discharge", DISCHARGE, _notes4(stays, quirky), **kinds)
    return folder


def _notes4(stays: Sequence[tuple[int, int]], quirky: tuple[int, int]) -> Iterator[Sequence[Any]]:
    for place, (subject, hadm) in enumerate(stays):
        known = list(DIAGNOSES_10) if place % 2 else list(DIAGNOSES_9)[:5]
        yield f"{subject}-DS-1", subject, hadm, "DS", 1, "2150-05-10 00:00:00", None, _text(subject, known)
    subject, hadm = quirky
    yield f"{subject}-AD-9", subject, hadm, "AD", 9, "2150-05-11 00:00:00", None, "ADDENDUM"
    yield f"{subject}-DS-3", subject, hadm, "DS", 3, "2150-05-10 00:00:00", None, 'Report, "quoted",\nsecond line'


def _plain_notes3(stays: Sequence[tuple[int, int]]) -> Iterator[Sequence[Any]]:
    for row, (subject, hadm) in enumerate(stays, start=1):
        text = _text(subject, list(DIAGNOSES_9)[:5])
        yield row, subject, hadm, "2150-05-10", None, None, "Discharge summary", "Report", None, None, text


def _plain_codes(stays: Sequence[tuple[int, int]], known: Sequence[str]) -> list[Sequence[Any]]:
    """Give every stay two codes out of `known`, by its patient's number."""
    n = len(known)
    return [
        (subject, hadm, rank, known[(subject + rank * (1 + subject % (n - 1))) % n])
        for subject, hadm in stays
        for rank in (1, 2)
    ]


def _text(subject: int, known: Sequence[str]) -> str:
    codes = [row[3] for row in _plain_codes([(subject, 0)], known)]
    said = "\n".join(SENTENCES.get(str(code), f"Findings number {code}.") for code in codes)
    place = ("ward", "clinic", "unit")[subject % 3]
    stay = f"Patient {subject} of the {place} with a stay of {subject % 9} days."
    return f"Admission Date:  [**2150-5-4**]\n\n{stay}\n{said}\n"


def _numbered(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    return [(number, *row) for number, row in enumerate(rows, start=1)]


def bulk3(folder: Path, notes: int, rng: np.random.Generator, *, characters: int = 10_000, packed: bool = True) -> int:
    """Write a large MIMIC-III download; returns the number of characters of its discharge notes.

    Notes have about `characters` characters made of 100,000 different sentences, one in eleven is an addendum of
    the note before, and one other note stands beside every four; a patient has 1.25 admissions, an admission 11
    diagnoses and 4 procedures.
    """
    sentences, kinds = _sentences(rng), {"packed": packed, "upper": True}
    stays = [(10_000 + place * 4 // 5, 100_000 + place) for place in range(notes * 10 // 11)]
    subjects = sorted({subject for subject, _ in stays})
    born: list[Sequence[Any]] = [(subject, "MF"[subject % 2], "2090-05-04 00:00:00") for subject in subjects]
    write_table(folder, "patients", ("row_id", "subject_id", "gender", "dob"), _numbered(born), **kinds)
    rows: list[Sequence[Any]] = [(s, h, "2150-05-04 10:00:00") for s, h in stays]
    write_table(folder, "admissions", ("row_id", "subject_id", "hadm_id", "admittime"), _numbered(rows), **kinds)
    columns = ("row_id", "subject_id", "hadm_id", "seq_num", "icd9_code")
    pools = {"diagnoses_icd": (11, _codes(rng, 4_000, 5)), "procedures_icd": (4, _codes(rng, 1_000, 4))}
    for name, (each, pool) in pools.items():
        drawn = np.minimum(rng.zipf(1.4, size=(len(stays), each)), len(pool)) - 1
        rows = [
            (s, h, k + 1, pool[code])
            for (s, h), row in zip(stays, drawn.tolist(), strict=True)
            for k, code in enumerate(row)
        ]
        write_table(folder, name, columns, _numbered(rows), **kinds)
    size = 0

    def told() -> Iterator[Sequence[Any]]:
        nonlocal size
        each = max(characters // 101, 1)
        for number in range(notes):
            subject, hadm = stays[min(number * 10 // 11, len(stays) - 1)]
            text = "\n".join([sentences[place] for place in rng.integers(0, len(sentences), each)])
            size += len(text)
            kind = "Addendum" if number % 11 == 10 else "Report"
            yield number, subject, hadm, "2150-05-10", None, None, "Discharge summary", kind, None, None, text
            if number % 4 == 0:
                yield (
                    notes + number,
                    subject,
                    hadm,
                    "2150-05-10",
                    None,
                    None,
                    "Nursing",
                    "Report",
                    None,
                    None,
                    text[:800],
                )

    write_table(folder, "noteevents", NOTEEVENTS, told(), **kinds)
    return size


def _sentences(rng: np.random.Generator, n: int = 100_000) -> list[str]:
    letters = np.array(list("eeeeaaaiiooutttnnnssrrllcdmphgbfyvwkxqjz"))
    words = ["".join(rng.choice(letters, size)) for size in rng.integers(2, 12, 20_000)]
    drawn = np.minimum(rng.zipf(1.3, size=(n, 12)), len(words)) - 1
    lines = [" ".join([words[place] for place in row]) for row in drawn.tolist()]
    return [f'{line} "{line[:4]}", [**2150-5-4**].' if place % 20 == 0 else line for place, line in enumerate(lines)]


def _codes(rng: np.random.Generator, n: int, digits: int) -> list[str]:
    return [f"{code:0{digits}d}" for code in rng.permutation(10**digits)[:n].tolist()]
