"""Clinical notes: their sections under canonical names, and their sentences and bullets.

Notes are written by hand and by templates, so everything here is a rule of thumb that must not fail: a text without
headings is one section, and every character of a note belongs to exactly one section.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

_HX = r"(?:history|hx)"
# Canonical name -> pattern of the whole heading, lower-case, "&" and "/" read as "and", single spaces, no plural "(s)".
_HEADINGS: tuple[tuple[str, str], ...] = (
    ("family history", rf"(?:(?:past |pertinent )?family (?:medical |psychiatric |and social )?{_HX}|family|fhx?"
     r"|fam hx)"),
    ("social history", rf"(?:(?:psycho)?social(?: and family)? ?{_HX}|social|shx?|soc hx|personal {_HX}|habits"
     rf"|substance (?:abuse|use) {_HX}|occupational {_HX}|travel {_HX})"),
    ("past surgical history", rf"(?:(?:past|prior|previous) (?:surgical |operative )(?:{_HX}|procedures?)"
     rf"|surgical {_HX}"
     rf"|pshx?|(?:past|prior|previous) (?:surgery|surgeries|operations?|procedures?))"),
    ("past medical history", rf"(?:(?:other |significant |pertinent |relevant )?(?:past|prior|previous|remote)?"
     rf" ?(?:medical(?: and (?:surgical|social|psychiatric|family))?|psychiatric|obstetrical?(?: and gyn\w+)?"
     rf"|ob|ob and gyn|gyn\w*|birth|oncolog\w+|cardiac|neurolog\w+|med) {_HX}|(?:past|prior|previous) {_HX}"
     r"|p?pmhx?(?: and pshx?)?|past medical(?: and surgical)? problems?|past illness(?:es)?|comorbidit(?:y"
     r"|ies)|(?:cardiac )?risk factors"
     r"|past (?:psych|medical|med))"),
    ("allergies", r"(?:(?:drug |medication |known |food )*allerg(?:y|ies)(?: and (?:adverse|drug) reactions?|"
     r" to medications?)?|adverse (?:drug )?reactions?|allergies and intolerances)"),
    ("history of present illness", rf"(?:{_HX} of (?:the )?(?:present(?:ing)?|current) (?:illness|complaint|condition)"
     rf"|hpi|(?:brief |interval |interim |developmental |clinical |current |pertinent "
     rf"|presenting )?{_HX}(?: and physical)?|present illness"
     r"|subjective(?: complaints?)?|interval events?|narrative|summary of (?:present )?illness"
     r"|brief (?:clinical )?summary)"),
    ("chief complaint", r"(?:chief complaints?|cc|presenting (?:complaints?|problems?)|complaints?|reason for"
     r" (?:(?:the |this )?(?:visit|consult(?:ation)?|admission|referral|evaluation|hospitali[sz]ation|follow ?up)))"),
    ("review of systems", r"(?:review of systems?|ros|systems? review|review of symptoms)"),
    ("vital signs", r"(?:vital signs?|vitals|vs|admission vitals?)"),
    ("physical examination", r"(?:(?:admission |discharge |focused |initial |general )?physical(?: examination| exam)?"
     r"|(?:admission |discharge )?(?:physical )?exam(?:ination)?|pe|objective(?: findings| data)?|mental status(?: exam"
     r"(?:ination)?)?|neurolog\w+ exam(?:ination)?|on exam(?:ination)?)"),
    ("laboratory data", r"(?:(?:pertinent |admission |discharge |initial )?(?:lab(?:oratory|s)?)(?: (?:data"
     r"|results?|values?"
     r"|studies|findings|tests?|work))?|results?|(?:diagnostic|blood|pertinent) (?:data|studies|results?|tests?"
     r"|findings)"
     r"|pertinent results|labs and imaging|data|microbiology|pathology(?: results?)?|cultures?)"),
    ("imaging", r"(?:imaging(?: (?:studies|results?))?|radiolog(?:y|ic)(?: (?:studies|results?|data))?|x ?rays?|ekg|ecg"
     r"|echo(?:cardiogram)?|ct(?: scan)?|mri|studies)"),
    ("differential diagnosis", r"(?:differential(?: diagnos[ie]s)?|ddx)"),
    ("preoperative diagnosis", r"(?:pre ?op(?:erative)? (?:diagnos[ie]s|dx)|pre ?procedure diagnos[ie]s)"),
    ("postoperative diagnosis", r"(?:post ?op(?:erative)? (?:diagnos[ie]s|dx)|post ?procedure diagnos[ie]s)"),
    ("admission diagnosis", r"(?:admi(?:ssion|tting) (?:diagnos[ie]s|dx))"),
    ("discharge diagnosis", r"(?:(?:final |primary |principal |secondary |other |additional )?(?:discharge |final )"
     r"(?:diagnos[ie]s|dx)|(?:primary|principal|secondary|other|additional) diagnos[ie]s)"),
    ("diagnosis", r"(?:(?:clinical |working |provisional |pathologic(?:al)? |current |active )?(?:diagnos[ie]s|dx)"
     r"|(?:active |current |medical )?problems?(?: list)?|axis i{1,3}|axis i?v)"),
    ("assessment and plan", r"(?:(?:assessment|impression|a)(?: and recommendations?| and plan| and p)|a p"
     r"|medical decision"
     r" making|mdm|impression plan|plan and assessment)"),
    ("assessment", r"(?:(?:clinical |diagnostic |overall )?(?:assessment|impressions?)|conclusions?|opinion"
     r"|interpretation"
     r"|summary(?: and conclusions?)?|discussion)"),
    ("plan", r"(?:(?:treatment |discharge )?plans?(?: of care)?|recommendations?|treatment|plan and recommendations?"
     r"|disposition and plan)"),
    ("hospital course", r"(?:(?:brief )?(?:summary of )?(?:hospital|clinical|icu|emergency department"
     r"|ed) course(?: .*)?"
     r"|course(?: in (?:the )?(?:hospital|ed))?|brief hospital summary"
     r"|(?:active |acute |chronic |transitional )(?:medical )?issues)"),
    ("discharge medications", r"(?:discharge (?:medications?|meds)|medications? (?:on|at) discharge)"),
    ("medications", r"(?:(?:current |home |outpatient |admission |preadmission |prior )*(?:medications?|meds)"
     r"(?: (?:on|at|prior to) admission)?|drugs)"),
    ("return precautions", r"(?:return precautions?|when to (?:call|return|seek help)|warning signs)"),
    ("discharge instructions", r"(?:(?:discharge |patient |home |follow ?up )?instructions?|patient education"
     r"|activity|diet)"),
    ("discharge condition", r"(?:(?:discharge )?(?:condition|disposition)(?: (?:on|at) discharge)?|code status"
     r"|prognosis)"),
    ("follow-up", r"(?:follow ?ups?(?: (?:plans?|care|appointments?))?|followup)"),
    ("immunizations", r"(?:immuni[sz]ations?(?: history)?|vaccin(?:es|ations?)|health maintenance|preventive care)"),
    ("indication", r"(?:(?:clinical )?indications?(?: for .*)?|reason for (?:the )?(?:exam(?:ination)?|study|test"
     r"|procedure"
     r"|surgery|operation)|clinical (?:information|context|question)|reason)"),
    ("technique", r"(?:techniques?|comparisons?|protocol|contrast)"),
    ("findings", r"(?:(?:intra ?operative |operative |gross |pertinent |significant |radiographic )?findings?|report)"),
    ("procedure", r"(?:(?:major |surgical or invasive |operative |invasive )*(?:procedures?|operations?|surgery"
     r"|surgeries)"
     r"(?: and? ?(?:performed|detail|details|in detail|note|technique|notes))?(?: (?:performed|in detail|details?"
     r"|note))?"
     r"|(?:description|details?|name|title) of (?:the )?(?:procedure|operation)(?: performed)?)"),
    ("consent", r"(?:(?:informed )?consent|risks?(?: and benefits?)?)"),
    ("operative details", r"(?:an(?:a?)esthesia|complications?|specimens?(?: removed)?|drains?"
     r"|(?:estimated )?blood loss|ebl"
     r"|fluids?|surgeons?|assistants?|attending|implants?|tourniquet time|urine output|counts?|service|date of \w+)"),
)  # fmt: skip
_CANONICAL = re.compile("|".join(f"(?P<h{at}>{pattern})" for at, (_, pattern) in enumerate(_HEADINGS)))
_AT_A_TIME = re.compile(r" (?:up ?on|on|at|prior to|before) (?:admission|discharge|arrival|presentation|transfer)$")
# Headings of body systems divide an examination or a review of systems; they do not end it, nor a history by systems.
_SUBHEADING = re.compile(
    r"general(?: appearance)?|constitutional|heent|head|eyes?|ears?|nose|throat|mouth|ent|neck|lymph\w*|chest"
    r"|breasts?|lungs?"
    r"|pulm\w*|resp\w*|heart|cv|cor|card\w*|abd\w*|gi|gastro\w*|gu|genit\w*|rectal|pelvi[cs]|back|spine|ext\w*|msk"
    r"|musculo\w*|skin|derm\w*|integ\w*|neuro\w*|psych\w*|endo\w*|hem\w*|motor|sensory|reflexes|gait|gen|cns|renal|id"
    r"|onc|mother|father|brothers?|sisters?|siblings?|parents|maternal|paternal|\w*grand(?:mother|father)|vascular"
    r"|immun\w*|tobacco|alcohol|note|question|answer|t|p|r|bp|hr|rr|wt|ht|bmi|temp\w*|pulse"
)
_DECORATION = " \t\r\n#*=_~>-"
_MARKUP = re.compile(r"[\s#*=_~>]*(?:\d{1,2}[.)]\s+|[-•]\s+)?[\s*_]*")
_BEFORE_COLON = re.compile(r"[A-Za-z][A-Za-z0-9 \t/&'’(),-]{0,58}?[*_]{0,2}[ \t]*(?=:)")
_LEADING_CAPITALS = re.compile(r"(?:[A-Z]{2,}[ /&-]+){1,3}[A-Z]{3,}(?=[ \t]+[^\s:])")
_LINE = re.compile(r"[^\n]*\n?")
_INLINE = re.compile(r"(?:^|[.;,!?•|]\s*|\s{2,})([A-Z][A-Za-z /&-]{1,50}?)[ \t]*:")


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a note.

    Attributes:
        name: Canonical name ("past medical history"), "other" under an unknown heading, "note" where none stands.
        title: The heading as written, without colon and markup; empty where none stands.
        start: First character of the heading.
        body_start: First character after the heading and its colon.
        end: One past the last character; the next section starts there.
    """

    name: str
    title: str
    start: int
    body_start: int
    end: int


@lru_cache(maxsize=4096)
def canonical(title: str) -> str:
    """Return the canonical name of a heading, an empty string where it is not known."""
    words = re.sub(r"[&/]| and ", " and ", re.sub(r"\((?:e?s)\)", "", title.lower()).replace("-", " "))
    words = " ".join(re.sub(r"[^a-z ]", " ", words).split())
    found = _CANONICAL.fullmatch(words) or _CANONICAL.fullmatch(_AT_A_TIME.sub("", words))
    return _HEADINGS[int((found.lastgroup or "h0")[1:])][0] if found else ""


def sections(text: str) -> list[Section]:
    """Return the sections of a note in order; together they cover every character.

    A heading stands at the start of a line (with a colon, or alone on it, or in capitals), or within a line in the way
    of flattened notes ("... nonsmoker. FAMILY HISTORY: ..."). Unknown headings count when they are in capitals and end
    in a colon.
    """
    heads = _headings(text)
    found = [] if heads and not text[: heads[0].start].strip(_DECORATION) else [Section("note", "", 0, 0, len(text))]
    if heads and not found:
        first = heads[0]
        heads[0] = Section(first.name, first.title, 0, first.body_start, first.end)
    found += heads
    ends = [one.start for one in found[1:]] + [len(text)]
    return [Section(one.name, one.title, one.start, one.body_start, end) for one, end in zip(found, ends, strict=True)]


def _headings(text: str) -> list[Section]:
    heads: list[Section] = []
    for line in _LINE.finditer(text):
        if not line[0].strip():
            continue
        start, here = line.start(), line[0].rstrip()
        head = _at_line_start(here, start)
        if head is not None:
            heads.append(head)
        after = head.body_start - start if head is not None else 0
        for inner in _INLINE.finditer(here, after):
            name = canonical(inner[1])
            if name and (len(inner[1]) > 3 or inner[1].isupper()) and inner.start(1) > 0:
                heads.append(Section(name, inner[1].strip(), start + inner.start(1), start + inner.end(), 0))
    return heads


def _at_line_start(line: str, offset: int) -> Section | None:
    """Return the heading that a line begins with; its `end` is not known yet."""
    markup = _MARKUP.match(line)
    first = markup.end() if markup else 0
    rest = line[first:]
    if not rest or not rest[0].isalpha():
        return None
    colon = _BEFORE_COLON.match(rest)
    if colon is not None:
        title = colon[0].strip(" \t*_")
        name = canonical(title) or _unknown(title)
        body = first + colon.end() + 1
        while body < len(line) and line[body] in "*_":
            body += 1
        return Section(name, title, offset + first, offset + body, 0) if name else None
    bare = rest.rstrip(" \t*_=#.-")
    if len(bare) <= 60 and bare[0].isupper() and (name := canonical(bare)) and not rest.rstrip().endswith("."):
        return Section(name, bare, offset + first, offset + len(line), 0)
    title, dash, _ = rest.partition(" - ")
    if dash and title[0].isupper() and (name := canonical(title)):
        return Section(name, title, offset + first, offset + first + len(title) + 3, 0)
    capitals = _LEADING_CAPITALS.match(rest)
    if capitals is not None and (name := canonical(capitals[0])):
        return Section(name, capitals[0], offset + first, offset + first + capitals.end(), 0)
    return None


def _unknown(title: str) -> str:
    """Return "other" for what looks like a heading that ends the section before it."""
    letters = [letter for letter in title if letter.isalpha()]
    shouted = len(letters) >= 4 and title.isupper() and len(title.split()) <= 7
    return "other" if shouted and not _SUBHEADING.fullmatch(title.split()[0].lower().strip(",:/")) else ""


# A full stop after these ends no sentence, whatever follows.
_TITLES = frozenset(
    ["dr", "drs", "mr", "mrs", "ms", "prof", "st", "mt", "e.g", "i.e", "eg", "ie", "vs", "cf", "approx", "fig"]
)
# After these it ends one only before a capital letter.
_SHORT_WORDS = (
    "pt pts hx dx tx rx sx fx etc b.i.d t.i.d q.i.d q.d q.h.s p.r.n p.o i.v i.m s.c a.m p.m y.o h.s n.p.o p.r bid"
    " tid qid"
    " prn po mg ml cc cm mm kg lb lbs oz min hr hrs yr yrs wk wks mo mos sec dept temp resp abd ext neuro gen avg"
    " est max"
    " appt wt ht ave blvd rd inc ltd jr sr no nos vol ant post lat med inf sup a.c p.c u.s d.c c.c s.p r.o"
)
_SHORT = frozenset(_SHORT_WORDS.split())  # fmt: skip
_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)|(?<=[a-z)])\.(?=[A-Z][a-z])")
_BULLET = re.compile(
    r"[ \t]*(?:[-–*•·▪●○#]+(?=[ \t]*[A-Za-z?(])|\d{1,2}[.)](?=\s)|\(\d{1,2}\)|[a-z][.)](?=\s[A-Z])|o(?=\s[A-Z]))"
)
_LIST_NUMBER = re.compile(r"(?:^|\s)\(?(?:\d{1,2}|[a-zA-Z])$")
_WORD_BEFORE = re.compile(r"[A-Za-z][A-Za-z.]*$")
_WRAPPED = (55, 130)  # characters; a line of this length that does not end a sentence was wrapped


def sentences(text: str, parts: Sequence[Section] | None = None) -> list[tuple[int, int]]:
    """Return the sentences, bullets and headings of a note as (start, end), without surrounding white space.

    A sentence does not cross a heading. Wrapped lines are joined again; short lines, bullets and numbered lists stand
    alone. Full stops of abbreviations ("Dr.", "b.i.d."), initials, decimals and list numbers end nothing.
    """
    parts = sections(text) if parts is None else parts
    cuts = {cut for part in parts for cut in (part.start, part.body_start)}
    cuts.update(_line_cuts(text))
    cuts.update(found.end() for found in _END.finditer(text) if _ends(text, found))
    cuts.update(found.start() for found in re.finditer(r"(?<=[ \t])[•●▪]\s", text))
    edges = sorted({0, len(text), *cuts})
    found = []
    for start, end in pairwise(edges):
        piece = text[start:end]
        lead = len(piece) - len(piece.lstrip())
        if lead < len(piece):
            found.append((start + lead, start + len(piece.rstrip())))
    return found


def _line_cuts(text: str) -> list[int]:
    """Return where a new line starts something new, as against a wrapped line."""
    cuts = []
    before = ""
    for line in _LINE.finditer(text):
        here = line[0].strip()
        if not here or not before:
            cuts.append(line.start())
        else:
            wrapped = before[-1] not in ".:;!?" and not _BULLET.match(line[0])
            flows = here[0].islower() or before[-1] == "," or _WRAPPED[0] <= len(before) <= _WRAPPED[1]
            if not (wrapped and flows):
                cuts.append(line.start())
        before = here
    return cuts


def _ends(text: str, mark: re.Match[str]) -> bool:
    """Tell whether this full stop ends a sentence."""
    if mark[0][0] != ".":
        # "?" ends a sentence, but not before the word it doubts ("? pneumonia").
        return mark.start() > 0 and not text[mark.start() - 1].isspace()
    before = text[max(0, mark.start() - 24) : mark.start()]
    after = text[mark.end() : mark.end() + 12].lstrip()
    line = before[before.rfind("\n") + 1 :]
    if _LIST_NUMBER.fullmatch(line.rstrip(".")) or re.search(r"[.:;]\s*\d{1,2}$", before):
        return False
    word = _WORD_BEFORE.search(before)
    if word is None:
        return True
    short = word[0].lower()
    if short in _TITLES:
        return False
    if len(short) == 1 and word[0].isupper():
        # An initial ("Dr. J. Smith"), not the end of "hepatitis C."
        return re.search(r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof)\.? )[A-Z]$", before) is None
    if short in _SHORT:
        if short in ("no", "nos"):
            return not after[:1].isdigit()
        return after[:1].isupper() and short not in ("pt", "pts")
    return True
