"""A note becomes codes without any training: its phrases are looked up among the texts that stand for codes.

Every run of up to eight words that says the same as a title, an inclusion term or another text of `codes_search` is a
mention, with its place in the note. Longer mentions win over those inside them. Whether a mention is of the patient and
of now is read by `assertions`: what is denied, a relative's, past or uncertain is never counted as present.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Literal

from medbench.assertion_scopes import Assertion
from medbench.assertions import assertions, read_mention
from medbench.codes import Code, Equivalent, Version, tables
from medbench.codes_search import SOURCES, key_of
from medbench.codes_words import PHRASE, words
from medbench.notes import sections, sentences
from medbench.records import Span

Status = Literal["present", "negated", "family", "historical", "uncertain"]
_TOKEN = re.compile(rf"{PHRASE.pattern}|\w+(?:['’.-]\w+)*", re.IGNORECASE)
_LONGEST = 8  # words of a mention
# How much a text that stands for a code is worth when a note says the same; a heading is worth less than a code.
_WORTH = {"title": 0.8, "bare": 0.8, "inclusion": 0.75, "includes": 0.6, "pointed": 0.6, "icd9": 0.55}
_HEADING, _ONE_WORD, _AGAIN = 0.1, 0.1, 0.1
# Of texts that say the same the first of these counts: what stands at the code itself before what points to it.
_TRUST = {name: at for at, name in enumerate(("title", "bare", "inclusion", "includes", "pointed", "icd9"))}
# Single words that stand at codes but mean too much or too little alone.
_NOT_ALONE = frozenset(
    words(
        """
        abscess abuse abnormal acute adhesion aged air alcohol allergy anomaly atrophy bite blister body burn
        cancer change child chronic closed cold collapse complication contact cyst death defect deficiency
        degeneration dependence disease disorder drug edema effect examination exposure failure fall family
        female fistula follow-up foreign fracture functional growth heat hemorrhage history hyperplasia
        hypertrophy illness infection inflammation injury lesion loss male mass mental mild moderate negative
        newborn normal obstruction old open other overdose pain patient poisoning polyp positive pregnancy
        problem procedure reaction relapse remission retention rupture screening severe smoking spasm sports
        status stenosis stone stress surgery syndrome tear tobacco tumor type ulcer use water weakness work
        wound
        """
    )
)
# A mention does not begin or end with these.
_EDGES = frozenset({"with", "without", "due", "no", "not", "other", "specified", "left", "right", "unspecified"})
# Words of a title that claim nothing.
_LITTLE = frozenset(words("unspecified not elsewhere classified site organism"))
_OPEN = "unspecified"
_BIRTHS = frozenset(words("in pregnancy, childbirth, and the puerperium"))


@dataclass(frozen=True, slots=True)
class Mention:
    """One place in a note that says what a code means.

    Attributes:
        start, end: Characters of the note.
        code: The billable code that is usual for it.
        score: How far it speaks for the code, 0-1, not calibrated.
        status: Whether it is of the patient and of now.
        codable: True when it is present, or past but of a kind that lasts ("history of hypertension").
        text: The text of the tables that says the same.
        source: Where that text stands; see `codes_search.SOURCES`.
    """

    start: int
    end: int
    code: Code
    score: float
    status: Status
    codable: bool
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A code that a note may carry, with the words that speak for it.

    Attributes:
        code: A billable code of the release that `Tables.release` names.
        score: How far the note speaks for it, 0-1, not calibrated; repeated mentions add a little.
        spans: Its mentions that decided the status, as characters of the note.
        status: "present" when one mention is; else what the mentions are.
        codable: False for what must not be coded as present.
        text: The text of the tables that the note says.
    """

    code: Code
    score: float
    spans: tuple[Span, ...]
    status: Status
    codable: bool
    text: str


def suggest(text: str, version: Version = "icd10cm", limit: int = 50) -> list[Suggestion]:
    """Return the codes that a note's words say, those to be coded first, each group by score.

    Args:
        text: The note.
        version: The table to code with. For ICD-9-CM the words are looked up in ICD-10-CM, which says far more of them,
            and the codes are led back through the general equivalence mapping.
        limit: How many codes to return at most.
    """
    held: dict[str, list[Mention]] = {}
    for mention in _in_icd9(mentions(text)) if version == "icd9cm" else mentions(text, version):
        held.setdefault(mention.code.label, []).append(mention)
    found = [_together(each) for each in held.values()]
    return sorted(found, key=lambda each: (not each.codable, -each.score, each.code.code))[:limit]


def _in_icd9(found: Iterable[Mention]) -> Iterator[Mention]:
    for mention in found:
        code = icd9_of(mention.code.label)
        if code is not None:
            yield replace(mention, code=code)


@lru_cache(maxsize=10_000)
def icd9_of(label: str) -> Code | None:
    """Return the billable ICD-9-CM diagnosis that says best what an ICD-10-CM code says, None when none does.

    Many ICD-9 codes may lead to one ICD-10 code. An exact equivalent wins over one that means about the same, then the
    one with the most words in common, then one that leaves the same open, then the one that claims least. A code that
    is younger than the mapping, or names a side that ICD-9 does not, takes what its neighbours in the tree came from.
    """
    held = tables()
    code = held.get(label)
    if code is None:
        return None
    said = set(words(code.text))
    plain = not _special(code.code)

    def fits(one: Equivalent) -> bool:
        aside = one.code.code[0] in "EV"  # aftercare, outside causes
        return one.scenario == 0 and one.code.billable and not (aside and plain)

    def worth(one: Equivalent) -> tuple[bool, int, bool, int]:
        theirs = set(words(one.code.text))
        common = (said & theirs) - _LITTLE
        return one.approximate, -len(common), _OPEN in said and _OPEN not in theirs, len(theirs - said - _LITTLE)

    above = [one.label for one in held.ancestors(label) if one.is_code]
    groups = chain([[label]], ([one, *(each.label for each in held.descendants(one))] for one in above))
    for group in groups:
        offers = [one for near in group for one in held.from_icd9(near) if fits(one)]
        if offers:
            return min(offers, key=worth).code
    return None


def _together(found: Sequence[Mention]) -> Suggestion:
    best = max(found, key=lambda each: (each.codable, each.status == "present", each.score))
    same = [each for each in found if (each.codable, each.status) == (best.codable, best.status)]
    doubt = 1 - max(each.score for each in same)
    for _ in same[1:5]:
        doubt *= 1 - _AGAIN
    spans = tuple(Span(each.start, each.end, each.score) for each in same)
    return Suggestion(best.code, 1 - doubt, spans, best.status, best.codable, best.text)


def mentions(text: str, version: Version = "icd10cm") -> list[Mention]:
    """Return every mention of a note in the order of their places; none lies within another."""
    spans = spotted(text, lambda key: knows(key, version))
    scopes = assertions(text) if spans else []
    return [_mention(text, scopes, start, end, key, version) for start, end, key in spans]


def _mention(text: str, scopes: Sequence[Assertion], start: int, end: int, key: str, version: Version) -> Mention:
    told = read_mention(text, scopes, start, end)
    label, score, said, source = _meaning(key, version) or ("", 0.0, "", "")
    code = tables().get(label)
    if code is None:
        raise KeyError(f"{key!r} was spotted, but means no code")
    return Mention(start, end, code, score, told.status, told.codable, said, source)


def spotted(text: str, known: Callable[[str], bool]) -> list[tuple[int, int, str]]:
    """Return (start, end, key) of the runs of up to eight words that are known, none across sentences or in another.

    Args:
        text: The note.
        known: Whether the key of some words (`codes_search.key_of`) means something.
    """
    return [span for start, end in sentences(text, sections(text)) for span in _in_sentence(text, start, end, known)]


def knows(key: str, version: Version) -> bool:
    """Return whether the texts of a table say these words of a code."""
    return key in _keys(version) and _meaning(key, version) is not None


def code_of(key: str, version: Version) -> Code | None:
    """Return the billable code that is usual for these words, None when they mean none."""
    meaning = _meaning(key, version) if key in _keys(version) else None
    return None if meaning is None else tables().get(meaning[0])


def _in_sentence(text: str, start: int, end: int, meant: Callable[[str], bool]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, key) of the mentions in a sentence, the longest first taken."""
    tokens = [(found.start(), found.end(), tuple(words(found.group()))) for found in _TOKEN.finditer(text, start, end)]
    fitting: list[tuple[int, int, int, str]] = []
    for first in range(len(tokens)):
        if not tokens[first][2] or tokens[first][2][0] in _EDGES:
            continue
        said: list[str] = []
        for last in range(first, min(first + _LONGEST, len(tokens))):
            said += tokens[last][2]
            if not tokens[last][2] or tokens[last][2][-1] in _EDGES:
                continue
            if meant(key := key_of(said)):
                fitting.append((key.count(" ") + 1, first, last, key))
    taken: set[int] = set()
    chosen = []
    for _, first, last, key in sorted(fitting, key=lambda each: (-each[0], each[1], each[2])):
        if taken.isdisjoint(range(first, last + 1)):
            taken.update(range(first, last + 1))
            chosen.append((tokens[first][0], tokens[last][1], key))
    yield from sorted(chosen)


@lru_cache(maxsize=4)
def _keys(version: Version) -> dict[str, list[int]]:
    """Return key -> numbers of the texts with these words; single words that mean too much alone are left out."""
    held: dict[str, list[int]] = {}
    for at, key in enumerate(tables().searcher(version).keys[:]):
        if key and not key.replace(" ", "").isdigit() and not (" " not in key and (key in _NOT_ALONE or len(key) < 3)):
            held.setdefault(key, []).append(at)
    return held


@lru_cache(maxsize=100_000)
def _meaning(key: str, version: Version) -> tuple[str, float, str, str] | None:
    """Return (label, score, text, source) that a key means; None when only outside causes or pregnancies fit."""
    held = tables()
    entries = held.searcher(version).entries
    best = min(
        (entries[at] for at in _keys(version).get(key, ())),
        key=lambda entry: (_TRUST[SOURCES[entry.source]], _special(held.printed(entry.row)), entry.row),
        default=None,
    )
    if best is None:
        return None
    source, row = SOURCES[best.source], best.row
    alone = " " not in key
    if alone and (source in ("pointed", "icd9") or _special(held.printed(row))):
        return None
    # A note beside births says "diabetes mellitus" of a mother; said alone, the words are of nobody who is pregnant.
    if source == "pointed" and set(words(held.text_at(row))) - set(key.split()) == _BIRTHS:
        return None
    code = held.usual(held.label_at(row))
    if code is None:
        return None
    score = _WORTH[source] - _HEADING * (not held.is_billable(row)) - _ONE_WORD * alone
    return code.label, score, best.text, source


def _special(code: str) -> bool:
    """Return whether a code is of a chapter that plain words seldom mean: births, outside causes, encounters."""
    return code[:1] in "OPVWXYZ"
