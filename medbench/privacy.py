"""What looks like patient data in a text, and masking it. Rules only: it misses things, and says so.

The kinds follow the identifiers of the HIPAA Safe Harbor list (45 CFR 164.514(b)(2)) that rules can find. Eponyms
("Parkinson disease") are not names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

LIMITS = "Rules find common patterns only. A text without findings can still identify a person."
_ROWS_KEPT = 1_000

_CAPITAL = r"(?:(?:[OD]['’]|Mc|Mac)?[A-ZÀ-Þ][a-zà-ÿ]+(?:['’-][A-ZÀ-Þ]?[a-zà-ÿ]+)*|[A-ZÀ-Þ]{2,}(?:['’-][A-ZÀ-Þ]+)*)"
_NAME = rf"{_CAPITAL}(?:[ ]+(?:[A-Z]\.[ ]+)?{_CAPITAL}){{0,2}}"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_DATE = (
    r"(?:\d{1,2}[/.-]\d{1,2}[/.-](?:19|20)?\d{2}|(?:19|20)\d{2}-\d{2}-\d{2}"
    rf"|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+(?:19|20)\d{{2}}|\d{{1,2}}\s+{_MONTH}\s+(?:19|20)\d{{2}})"
)
_STREET = (
    r"(?:Street|Avenue|Road|Boulevard|Lane|Drive|Court|Place|Highway|Parkway|Way|(?:St|Ave|Rd|Blvd|Ln|Hwy|Pkwy)\b\.?"
    r"|(?:Dr|Ct|Pl)\b\.?(?=[,;\n]|$))"
)
# What de-identified notes put in place of names, and capitalised words that follow "Mr." by accident.
_NOT_NAMES = re.compile(
    r"(?:X+|XYZ|ABC|[A-Z]|[A-Z]{2,3}D|Doe|LAST|FIRST|NAME|In|On|At|The|This|These|It|He|She|They|We|You|If|When|Was|Is|Are"
    r"|And|Or|But|For|To|Of|From|With|As|By|No|Not)(?:['’]s)?$",
    re.IGNORECASE,
)

_EPONYMS = frozenset(
    (
        *(
            "addison",
            "alport",
            "alzheimer",
            "angelman",
            "asperger",
            "babinski",
            "baker",
            "barrett",
            "bartter",
            "basedow",
        ),
        *("becker", "behcet", "behçet", "bell", "bowen", "brugada", "budd", "burkitt", "chagas", "charcot", "chiari"),
        *("conn", "cooley", "cowden", "creutzfeldt", "crohn", "cushing", "dandy", "down", "dressler", "duchenne"),
        *("dupuytren", "edwards", "ehlers", "eisenmenger", "ewing", "fabry", "fallot", "fanconi", "felty", "fournier"),
        *("gaucher", "gilbert", "gitelman", "goodpasture", "graves", "guillain", "hansen", "hashimoto", "henoch"),
        *("hirschsprung", "hodgkin", "horner", "hunter", "huntington", "hurler", "jakob", "kaposi", "kartagener"),
        *("kawasaki", "klinefelter", "korsakoff", "leigh", "lewy", "lyme", "mallory", "marfan", "meckel", "ménière"),
        *("meniere", "munchausen", "noonan", "osler", "paget", "parkinson", "patau", "peyronie", "pott", "prader"),
        *("raynaud", "reiter", "rett", "reye", "sheehan", "sjogren", "sjögren", "stevens", "sydenham", "takayasu"),
        *("tourette", "turner", "waldenström", "waldenstrom", "wegener", "wernicke", "whipple", "willebrand", "wilms"),
        *("wilson", "wolff", "zollinger", "foley", "swan", "doppler", "gram", "papanicolaou", "romberg", "murphy"),
        *("mcburney", "kocher", "whitaker", "billroth", "whipple", "nissen", "bovie", "kelly", "metzenbaum", "allis"),
    )
)
_AFTER_EPONYM = re.compile(
    r"(?:['’]s)?(?:[ -]+(?:and[ -]+)?[A-Z][a-z]+)?[ -]+(?:disease|syndrome|lymphoma|sign|test|palsy|tumou?r|sarcoma|"
    r"contracture|thyroiditis|phenomenon|score|scale|criteria|stain|stage|classification|cell|cells|bod(?:y|ies)|"
    r"esophagus|oesophagus|catheter|procedure|maneuver|manoeuvre|operation|fracture|clamp|retractor|reflex|"
    r"purpura|dystrophy|chorea|encephalopathy|granulomatosis|arteritis|nephropathy|diverticulum|cyst|line|point)s?\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of text, [start, end) in characters, that looks like patient data of one kind."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a scan found of one kind.

    Attributes:
        kind: Machine name, a key of `KINDS`.
        count: Number of places.
        rows: Positions of the first 1,000 texts that hold one.
        n_rows: Number of texts that hold one.
    """

    kind: str
    count: int
    rows: tuple[int, ...]
    n_rows: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """One pattern; its group "it" is what is marked.

    A text is searched only when its lower-case form holds one of `hints` (if any) and `glance` (if any) matches:
    substrings are looked for a hundred times faster than patterns.
    """

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]
    glance: re.Pattern[str] | None = None


_HOLDERS = ("record", "patient", "hospital", "chart", "account")
_STREET_HINTS = (
    *("street", "avenue", "road", "boulevard", "lane", "drive", "court", "place", "highway", "parkway", "way"),
    *("st.", "st,", "st ", "ave", "rd", "blvd", "ln", "hwy", "pkwy", "dr,", "dr.,", "ct,", "pl,"),
)
KINDS = {
    "name": "names of persons",
    "record_number": "medical record numbers",
    "phone": "phone numbers",
    "email": "e-mail addresses",
    "ssn": "social security numbers",
    "birth_date": "dates of birth",
    "address": "street addresses",
}
_RULES = (
    _Rule("email", re.compile(r"(?P<it>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63})+)"), ("@",)),
    _Rule(
        "ssn",
        re.compile(r"(?<![\w./-])(?P<it>(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4})(?![\w-])"),
        (),
        re.compile(r"\d-\d\d-\d"),
    ),
    _Rule(
        "record_number",
        re.compile(
            r"\b(?:MRN|MR ?#|(?:medical )?record (?:number|no\.?|#)|(?:patient|hospital|chart|account)[ ]"
            r"(?:id|number|no\.?|#))\s{0,3}[:#=]?\s{0,3}(?P<it>[A-Z]{0,3}[-]?\d[\d-]{3,14}\d)\b",
            re.IGNORECASE,
        ),
        ("mrn", "mr#", "mr #", *(f"{word} {sign}" for word in _HOLDERS for sign in ("n", "id", "#"))),
    ),
    _Rule(
        "birth_date",
        re.compile(
            rf"\b(?:DOB|D\.O\.B\.|date of birth|birth ?date|born(?: on)?)\s{{0,3}}[:=]?\s{{0,3}}(?P<it>{_DATE})",
            re.IGNORECASE,
        ),
        ("dob", "d.o.b", "date of birth", "birthdate", "birth date", "born"),
    ),
    _Rule(
        "phone",
        re.compile(
            r"(?<![\w.-])(?P<it>(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\)[ ]?|[2-9]\d{2}[ .-])\d{3}[.-]\d{4}|"
            r"\+\d{1,3}[ .-]?\(?\d{1,4}\)?(?:[ .-]?\d{2,4}){2,4})(?![\w-])"
        ),
        (),
        re.compile(r"\d{3}[.-]\d{4}|\+\d"),
    ),
    _Rule(
        "address",
        re.compile(rf"(?<![\w:.,/-])(?P<it>\d{{1,5}}[ ](?:[NSEW]\.?[ ])?(?:{_CAPITAL}[ ]){{1,3}}{_STREET})(?!\w)"),
        tuple(f" {word}" for word in _STREET_HINTS),
        re.compile(r"\d [A-ZÀ-Þ]"),
    ),
    _Rule(
        "name",
        re.compile(rf"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b\.?[ ]+(?P<it>{_NAME})"),
        ("mr. ", "mr ", "mrs", "ms. ", "ms ", "miss ", "dr. ", "dr ", "prof. ", "prof "),
    ),
    _Rule(
        "name",
        re.compile(r"\b(?:MR|MRS|DR)\.[ ]+(?P<it>[A-Z]{2,}(?:['’-][A-Z]+)*)\b"),
        ("mr. ", "mrs. ", "dr. "),
    ),
    _Rule(
        "name", re.compile(rf"\b(?i:patient(?:['’]s)? name)[ ]?[:=][ ]*(?P<it>{_NAME})"), ("name:", "name :", "name=")
    ),
)


def find(text: str) -> list[Mark]:
    """Return what looks like patient data in `text`, in order, without overlaps (the earlier, then longer, wins)."""
    lower = text.lower()
    marks: list[Mark] = []
    for rule in _RULES:
        if rule.glance is not None and rule.glance.search(text) is None:
            continue
        if rule.hints and not any(hint in lower for hint in rule.hints):
            continue
        for found in rule.pattern.finditer(text):
            mark = Mark(found.start("it"), found.end("it"), rule.kind)
            if rule.kind != "name" or _is_name(text, mark):
                marks.append(mark)
    marks.sort(key=lambda mark: (mark.start, -mark.end))
    kept: list[Mark] = []
    for mark in marks:
        if not kept or mark.start >= kept[-1].end:
            kept.append(mark)
    return kept


def mask(text: str) -> str:
    """Return `text` with each finding replaced by its kind in brackets: "Seen by Dr [NAME]."."""
    pieces, last = [], 0
    for mark in find(text):
        pieces += [text[last : mark.start], f"[{mark.kind.upper()}]"]
        last = mark.end
    return "".join([*pieces, text[last:]])


def scan(texts: Iterable[str], say: Callable[[int], None] | None = None) -> list[Seen]:
    """Return what was found in all texts, one entry per kind, most frequent first.

    Args:
        texts: The texts; positions count from 0.
        say: Told the number of texts done, every thousand.
    """
    counts = dict.fromkeys(KINDS, 0)
    rows: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for position, text in enumerate(texts):
        for mark in find(text):
            counts[mark.kind] += 1
            if not rows[mark.kind] or rows[mark.kind][-1] != position:
                rows[mark.kind].append(position)
        if say is not None and position % 1000 == 999:
            say(position + 1)
    seen = [Seen(kind, counts[kind], tuple(rows[kind][:_ROWS_KEPT]), len(rows[kind])) for kind in KINDS if counts[kind]]
    return sorted(seen, key=lambda one: -one.n_rows)


def in_words(seen: Sequence[Seen]) -> str:
    """Return the findings as part of a sentence: "names of persons (12), phone numbers (3)"."""
    return ", ".join(f"{KINDS[one.kind]} ({one.count:,})" for one in seen)


def _is_name(text: str, mark: Mark) -> bool:
    """Tell a person's name from a placeholder of a de-identified note and from an eponym used as a medical term."""
    words = re.split(r"[ ]+", text[mark.start : mark.end])
    if _NOT_NAMES.match(words[0]):
        return False
    for place, word in enumerate(words):
        if re.sub(r"['’]s$", "", word.lower()) in _EPONYMS:
            rest = " ".join(["", *words[place + 1 :]]) + text[mark.end : mark.end + 40]
            if _AFTER_EPONYM.match(rest) or word.endswith(("'s", "’s")):
                return False
    return True
