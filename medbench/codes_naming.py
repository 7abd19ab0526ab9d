"""How codes are written: dots, versions, labels, and the names that the packaged lists leave out.

A label is `"<version>:<code>"` with the code in capitals and with its dot: `icd10cm:E11.9`, `icd9cm:250.00`,
`icd9pcs:47.01`, `icd10pcs:0DTJ4ZZ`. The version implies the kind: a bare code says neither (48 undotted strings are
billable in ICD-10-CM and in ICD-9-CM, 1,593 ICD-9 diagnoses read like ICD-9 procedures).
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from medbench.errors import MedbenchError

Version = Literal["icd10cm", "icd10pcs", "icd9cm", "icd9pcs"]
Kind = Literal["diagnosis", "procedure"]
Level = Literal["chapter", "block", "category", "code"]

VERSIONS: tuple[Version, ...] = get_args(Version)
KINDS: dict[Version, Kind] = {
    "icd10cm": "diagnosis",
    "icd10pcs": "procedure",
    "icd9cm": "diagnosis",
    "icd9pcs": "procedure",
}
TITLES: dict[Version, str] = {
    "icd10cm": "ICD-10-CM",
    "icd10pcs": "ICD-10-PCS",
    "icd9cm": "ICD-9-CM diagnoses",
    "icd9pcs": "ICD-9-CM procedures",
}


def dotted(version: Version, code: str) -> str:
    """Return an undotted code with its dot: E119 → E11.9, 25000 → 250.00, E8490 → E849.0, 4701 → 47.01."""
    if version == "icd10pcs":
        return code
    at = {"icd10cm": 3, "icd9cm": 4 if code.startswith("E") else 3, "icd9pcs": 2}[version]
    return f"{code[:at]}.{code[at:]}" if len(code) > at else code


def undotted(code: str) -> str:
    """Return a code without its dot, in capitals, without white space."""
    return re.sub(r"[\s.]", "", code).upper()


def label_of(version: Version, code: str) -> str:
    """Return the label of a code as printed."""
    return f"{version}:{code}"


def parse(label: str) -> tuple[Version, str]:
    """Return (version, code) of a label.

    Raises:
        MedbenchError: When the label names no version that medbench knows, or no code.
    """
    version, _, code = label.partition(":")
    for known in VERSIONS:
        if version == known and code:
            return known, code
    raise MedbenchError(
        "a label like icd10cm:E11.9", repr(label), f"Put one of {', '.join(VERSIONS)} and a colon before the code."
    )


def restored(version: Version, text: str) -> str | None:
    """Return an ICD-9 code with the leading zeros that a spreadsheet took (38.9 → 038.9), undotted; None if it has all.

    Without a dot a single zero is put back (389 → 0389): how many were lost cannot be seen. One digit is no code.
    """
    width = {"icd9cm": 3, "icd9pcs": 2}.get(version)
    whole, dot, rest = text.strip().partition(".")
    if width is None or not whole.isdecimal() or (dot and not rest.isdecimal()):
        return None
    if dot:
        return whole.zfill(width) + rest if len(whole) < width else None
    return f"0{whole}" if 2 <= len(whole) < width + 2 else None


# Chapters of ICD-9-CM (volumes 1 and 3): first category, last category, name. The packaged lists hold codes only.
ICD9_CHAPTERS: tuple[tuple[str, str, str], ...] = (
    ("001", "139", "Infectious and parasitic diseases"),
    ("140", "239", "Neoplasms"),
    ("240", "279", "Endocrine, nutritional and metabolic diseases, and immunity disorders"),
    ("280", "289", "Diseases of the blood and blood-forming organs"),
    ("290", "319", "Mental disorders"),
    ("320", "389", "Diseases of the nervous system and sense organs"),
    ("390", "459", "Diseases of the circulatory system"),
    ("460", "519", "Diseases of the respiratory system"),
    ("520", "579", "Diseases of the digestive system"),
    ("580", "629", "Diseases of the genitourinary system"),
    ("630", "679", "Complications of pregnancy, childbirth, and the puerperium"),
    ("680", "709", "Diseases of the skin and subcutaneous tissue"),
    ("710", "739", "Diseases of the musculoskeletal system and connective tissue"),
    ("740", "759", "Congenital anomalies"),
    ("760", "779", "Certain conditions originating in the perinatal period"),
    ("780", "799", "Symptoms, signs, and ill-defined conditions"),
    ("800", "999", "Injury and poisoning"),
    ("E000", "E999", "External causes of injury and poisoning"),
    ("V01", "V91", "Factors influencing health status and contact with health services"),
)
ICD9_PROCEDURE_CHAPTERS: tuple[tuple[str, str, str], ...] = (
    ("00", "00", "Procedures and interventions, not elsewhere classified"),
    ("01", "05", "Operations on the nervous system"),
    ("06", "07", "Operations on the endocrine system"),
    ("08", "16", "Operations on the eye"),
    ("17", "17", "Other miscellaneous diagnostic and therapeutic procedures"),
    ("18", "20", "Operations on the ear"),
    ("21", "29", "Operations on the nose, mouth, and pharynx"),
    ("30", "34", "Operations on the respiratory system"),
    ("35", "39", "Operations on the cardiovascular system"),
    ("40", "41", "Operations on the hemic and lymphatic system"),
    ("42", "54", "Operations on the digestive system"),
    ("55", "59", "Operations on the urinary system"),
    ("60", "64", "Operations on the male genital organs"),
    ("65", "71", "Operations on the female genital organs"),
    ("72", "75", "Obstetrical procedures"),
    ("76", "84", "Operations on the musculoskeletal system"),
    ("85", "86", "Operations on the integumentary system"),
    ("87", "99", "Miscellaneous diagnostic and therapeutic procedures"),
)
# First character of an ICD-10-PCS code: its section.
PCS_SECTIONS: dict[str, str] = {
    "0": "Medical and Surgical",
    "1": "Obstetrics",
    "2": "Placement",
    "3": "Administration",
    "4": "Measurement and Monitoring",
    "5": "Extracorporeal or Systemic Assistance and Performance",
    "6": "Extracorporeal or Systemic Therapies",
    "7": "Osteopathic",
    "8": "Other Procedures",
    "9": "Chiropractic",
    "B": "Imaging",
    "C": "Nuclear Medicine",
    "D": "Radiation Therapy",
    "F": "Physical Rehabilitation and Diagnostic Audiology",
    "G": "Mental Health",
    "H": "Substance Abuse Treatment",
    "X": "New Technology",
}
# Second character within the section Medical and Surgical: the body system.
PCS_BODY_SYSTEMS: dict[str, str] = {
    "0": "Central Nervous System and Cranial Nerves",
    "1": "Peripheral Nervous System",
    "2": "Heart and Great Vessels",
    "3": "Upper Arteries",
    "4": "Lower Arteries",
    "5": "Upper Veins",
    "6": "Lower Veins",
    "7": "Lymphatic and Hemic Systems",
    "8": "Eye",
    "9": "Ear, Nose, Sinus",
    "B": "Respiratory System",
    "C": "Mouth and Throat",
    "D": "Gastrointestinal System",
    "F": "Hepatobiliary System and Pancreas",
    "G": "Endocrine System",
    "H": "Skin and Breast",
    "J": "Subcutaneous Tissue and Fascia",
    "K": "Muscles",
    "L": "Tendons",
    "M": "Bursae and Ligaments",
    "N": "Head and Facial Bones",
    "P": "Upper Bones",
    "Q": "Lower Bones",
    "R": "Upper Joints",
    "S": "Lower Joints",
    "T": "Urinary System",
    "U": "Female Reproductive System",
    "V": "Male Reproductive System",
    "W": "Anatomical Regions, General",
    "X": "Anatomical Regions, Upper Extremities",
    "Y": "Anatomical Regions, Lower Extremities",
}
# First three letters of a CCSR category: the body system (the CCSR's own abbreviations).
CCSR_SYSTEMS: dict[str, str] = {
    "BLD": "Blood and immune mechanism",
    "CIR": "Circulatory system",
    "DEN": "Dental",
    "DIG": "Digestive system",
    "EAR": "Ear and mastoid process",
    "END": "Endocrine, nutritional and metabolic",
    "EXT": "External causes",
    "EYE": "Eye and adnexa",
    "FAC": "Factors influencing health status",
    "GEN": "Genitourinary system",
    "INF": "Infectious and parasitic",
    "INJ": "Injury and poisoning",
    "MAL": "Congenital malformations",
    "MBD": "Mental, behavioral and neurodevelopmental",
    "MUS": "Musculoskeletal system",
    "NEO": "Neoplasms",
    "NVS": "Nervous system",
    "PNL": "Perinatal",
    "PRG": "Pregnancy, childbirth and puerperium",
    "RSP": "Respiratory system",
    "SKN": "Skin and subcutaneous tissue",
    "SYM": "Symptoms and signs",
    "XXX": "No category as first-listed diagnosis",
}
