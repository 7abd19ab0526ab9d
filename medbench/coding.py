"""One clinical note becomes proposed codes: each valid, with its words in the note; what is not present is set apart.

The dictionary (`codes_spotting`) proposes without training; a trained model adds probabilities. Both pass one gate:
a label that stands in no code table is never shown as a code, and a mention that is denied, a relative's, past or
uncertain is set apart instead of being coded.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medbench import aliases, codes, predicting
from medbench.assertion_scopes import Assertion
from medbench.assertions import assertions, read_mention
from medbench.codes import Code, Tables, Version
from medbench.codes_spotting import suggest
from medbench.errors import MedbenchError, OversizedError
from medbench.predicting import Loaded
from medbench.records import Item, Prediction, Span
from medbench.workspace import Workspace

Tell = Callable[[float, str], None]
DICTIONARIES: tuple[Version, ...] = ("icd10cm", "icd9cm")
"""Tables of diagnoses that the dictionary can code with, the usual one first."""
MOST = 30
LONGEST = 1_000_000
"""Characters of a note; a 500-page record has about as many."""
SURE = 0.5
"""A match from which the dictionary proposes a code as decided; no probability."""
_PROBABLE = 0.05
_EXPLAINED = 12  # codes whose words the model is asked for in a long note; that takes half a second each
_LONG = 20_000  # characters
_ALL = 10_000  # the dictionary's codes; what is set apart stands behind them and may not be cut off
_FAINT = 0.25  # marks weaker than this share of the strongest are no evidence
DICTIONARY = ""
"""The id that stands for "no model": the dictionary alone."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Words of the note that support a code: characters [start, end), how they are meant, and what says so."""

    start: int
    end: int
    status: str = "present"
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A code that may apply.

    Attributes:
        code: The code; it stands in a table.
        share: What the list is ordered by, 0-1: the calibrated probability, or the dictionary's match.
        probability: Calibrated probability, None when only the dictionary proposes it.
        decided: True when it reaches the model's threshold (or the dictionary's).
        seen: Training notes that carry it; None when no model was asked.
        evidence: Its words in the note; empty when nothing in the note supports it.
        source: "model", "dictionary" or "both".
        match: The dictionary's match, 0-1; None when only the model proposes it.
        sought: False when the model was not asked for its words, because the note is long.
    """

    code: Code
    share: float
    probability: float | None
    decided: bool
    seen: int | None
    evidence: tuple[Evidence, ...]
    source: str
    match: float | None = None
    sought: bool = True


@dataclass(frozen=True, slots=True)
class Apart:
    """A mention that is denied, of a relative, past or uncertain, with the code it would have.

    Attributes:
        code: The code that fits the words best.
        evidence: Where it is mentioned first, and how that is meant.
        again: Its other mentions.
        also: Other codes that were found in the same words, likeliest first.
    """

    code: Code
    evidence: Evidence
    again: tuple[Evidence, ...] = ()
    also: tuple[Code, ...] = ()

    @property
    def mentions(self) -> tuple[Evidence, ...]:
        """All its mentions, in the order of the note."""
        return (self.evidence, *self.again)


@dataclass(frozen=True, slots=True)
class CodedNote:
    """What medbench says of a note.

    Attributes:
        text: The note; evidence counts in its characters.
        model: Id of the model asked, empty for the dictionary alone.
        proposals: Codes, most likely first.
        apart: Codes that are set apart.
        remarks: What the reader has to know, one sentence each.
        releases: Table -> its release, of the tables used.
        version: The table that the dictionary coded with; what is looked up for this note is looked up there.
        needs_human: True when the model says that a person has to code this note.
        seconds: How long it took.
        answer: What the model itself said, before the dictionary's words were added; None for the dictionary alone.
        kept: Id of that answer in the history, where a job was asked (`coding_jobs`).
    """

    text: str
    model: str
    proposals: tuple[Proposal, ...]
    apart: tuple[Apart, ...]
    remarks: tuple[str, ...]
    releases: dict[str, str]
    needs_human: bool
    seconds: float
    version: Version = "icd10cm"
    answer: Prediction | None = None
    kept: str = ""

    @property
    def why(self) -> str:
        """Why a person has to code it, half a sentence; "" where none has to, or nothing is known."""
        return self.answer.why if self.answer is not None else ""

    @property
    def stands(self) -> tuple[str, ...]:
        """What stands behind the model's answers, one sentence each; nothing for the dictionary."""
        if self.answer is None:
            return ()
        return (*filter(None, [self.answer.promise]), *self.answer.behind)

    def as_json(self) -> dict[str, Any]:
        """Return it JSON-ready; evidence carries its words."""
        rows = [{**_code_json(one.code), **_proposal_json(self.text, one)} for one in self.proposals]
        apart = [_apart_json(self.text, one) for one in self.apart]
        human = {"needs_human": self.needs_human, "why": self.why}
        facts = {"model": self.model or None, "releases": self.releases, **human}
        return {**facts, "codes": rows, "set_apart": apart, "remarks": list(self.remarks), "stands": list(self.stands)}


def _code_json(code: Code) -> dict[str, Any]:
    facts = {"code": code.code, "version": code.version, "kind": code.kind}
    return {**facts, "description": code.text, "billable": code.billable}


def _proposal_json(text: str, one: Proposal) -> dict[str, Any]:
    match = None if one.match is None else round(one.match, 4)
    facts = {"probability": one.probability, "match": match, "decided": one.decided, "seen": one.seen}
    return {**facts, "source": one.source, "evidence": [_evidence_json(text, each) for each in one.evidence]}


def _apart_json(text: str, one: Apart) -> dict[str, Any]:
    again = [_evidence_json(text, each) for each in one.again]
    also = [_code_json(code) for code in one.also]
    return {**_code_json(one.code), "evidence": _evidence_json(text, one.evidence), "again": again, "also": also}


def _evidence_json(text: str, one: Evidence) -> dict[str, Any]:
    return {**asdict(one), "words": text[one.start : one.end]}


def code_note(
    workspace: Workspace,
    text: str,
    model_id: str = DICTIONARY,
    most: int = MOST,
    version: Version | None = None,
    tell: Tell | None = None,
) -> CodedNote:
    """Propose codes for a note.

    Args:
        workspace: Where the models lie.
        text: The note.
        model_id: A model of the task "icd"; empty asks the dictionary alone.
        most: At most so many proposals.
        version: The table that the dictionary codes with; that of the model's labels when None, or ICD-10-CM.
        tell: Told (share done 0-1, sentence) as the work goes on.

    Raises:
        MedbenchError: The note is empty, or the model is none for ICD codes.
        OversizedError: The note is longer than `LONGEST` characters.
    """
    began = time.monotonic()
    if not text.strip():
        raise MedbenchError("a clinical note", "an empty text", "Paste a note, or drop a PDF with text in it.")
    if len(text) > LONGEST:
        raise OversizedError(
            f"a note of at most {LONGEST:,} characters", f"one of {len(text):,}", "Split it, one document at a time."
        )
    tell = tell or _silent
    held = codes.tables()
    remarks: list[str] = []
    answer: Prediction | None = None
    if model_id:
        tell(0.0, "Reading the model")
        model_id = aliases.resolve(workspace, model_id)
    loaded = _loaded(workspace, model_id) if model_id else None
    tell(0.1, "Looking for words of the dictionary")
    scopes = assertions(text)
    version = version or _table_of(loaded)
    found = _from_dictionary(text, scopes, version)
    if loaded is not None:
        answer = _add_model(loaded, held, text, scopes, found, remarks, tell)
    proposals, apart = _parted(found.values(), most)
    shown = [one.code for one in proposals] + [one.code for one in apart]
    used = list(dict.fromkeys(code.version for code in shown)) or [version]
    releases = {codes.TITLES[one]: held.release(one) for one in used}
    spent = round(time.monotonic() - began, 3)
    needs_human = answer is not None and answer.needs_human
    return CodedNote(text, model_id, proposals, apart, tuple(remarks), releases, needs_human, spent, version, answer)


def _read(text: str, scopes: Sequence[Assertion], spans: Iterable[Span]) -> tuple[Evidence, ...]:
    """Return a code's mentions with how each is meant."""
    mentions = []
    for span in spans:
        reading = read_mention(text, scopes, span.start, span.end)
        cause = reading.cause.trigger if reading.cause and not reading.codable else ""
        mentions.append(Evidence(span.start, span.end, "present" if reading.codable else reading.status, cause))
    return tuple(mentions)


def _models_words(text: str, scopes: Sequence[Assertion], code: Code, spans: Sequence[Span]) -> tuple[Evidence, ...]:
    """Return the words that drove the model with how they are meant; none of them is present unless the strongest is.

    A model may mark "no lymphadenopathy" whole, or "aorta" and "aneurysm" of "the aorta shows no signs of aneurysm".
    """
    floor = _FAINT * max((span.weight for span in spans), default=0.0)
    bare = [_without_triggers(text, scopes, code, span) for span in spans if span.weight > max(floor, 0.0)]
    kept = sorted((span for span in bare if span.start < span.end), key=lambda span: -span.weight)
    read = _read(text, scopes, kept)
    strongest = [one for one, span in zip(read, kept, strict=True) if span.weight == kept[0].weight]
    if strongest and all(one.status != "present" for one in strongest):
        read = tuple(one for one in read if one.status != "present")
    return read


def _without_triggers(text: str, scopes: Sequence[Assertion], code: Code, span: Span) -> Span:
    """Return a span without the "no" or "denies" in it: its longest rest; a code that says the same keeps its words."""
    start, end = span.start, span.end
    for one in scopes:
        inside = start <= one.trigger_start and one.trigger_end <= end
        if inside and f" {one.trigger.lower()} " not in f" {code.text.lower()} ":
            if one.trigger_start - start > end - one.trigger_end:
                end = one.trigger_start
            else:
                start = one.trigger_end
    words = text[start:end]
    return Span(start + len(words) - len(words.lstrip()), end - len(words) + len(words.rstrip()), span.weight)


def _silent(share: float, sentence: str) -> None:
    """Tell nobody."""


def _loaded(workspace: Workspace, model_id: str) -> Loaded:
    loaded = predicting.load_for(workspace, model_id, "text")
    if loaded.card["task"] != "icd":
        raise MedbenchError("a model for ICD codes", f"{model_id!r}, made for {loaded.card['task']}", "Choose another.")
    return loaded


def _table_of(loaded: Loaded | None) -> Version:
    """Return the table of diagnoses that most labels of a model stand in; ICD-10-CM without one."""
    return table_of(loaded.labels) if loaded is not None else DICTIONARIES[0]


def table_of(labels: Sequence[str]) -> Version:
    """Return which of `DICTIONARIES` most of these labels stand in; the first when none does."""
    heads = Counter(label.partition(":")[0] for label in labels)
    return max(DICTIONARIES, key=lambda version: heads[version])


def _from_dictionary(text: str, scopes: Sequence[Assertion], version: Version) -> dict[str, Proposal]:
    found = {}
    for one in suggest(text, version, _ALL):
        evidence = _read(text, scopes, one.spans)
        sure = one.score >= SURE
        found[one.code.label] = Proposal(one.code, one.score, None, sure, None, evidence, "dictionary", one.score)
    return found


def _add_model(
    loaded: Loaded,
    held: Tables,
    text: str,
    scopes: Sequence[Assertion],
    found: dict[str, Proposal],
    remarks: list[str],
    tell: Tell,
) -> Prediction:
    """Put the model's codes into `found` and sentences into `remarks`; return its answer."""
    tell(0.3, "Asking the model")
    item = Item("note", "", text)
    answer = predicting.predict(loaded, [item])[0]
    seen = loaded.seen()
    gone = 0
    explained = _EXPLAINED if len(text) > _LONG else MOST
    kept = [score for score in answer.labels if score.chosen or score.probability >= _PROBABLE]
    for at, score in enumerate(kept):
        tell(0.4 + 0.6 * at / len(kept), f"Looking for the words of code {at + 1} of {len(kept)}")
        code = held.get(score.label)
        if code is None:
            gone += score.chosen
            continue
        before = found.get(score.label)
        evidence, sought = (before.evidence, True) if before else ((), at < explained)
        if sought and not evidence:
            evidence = _models_words(text, scopes, code, predicting.explain(loaded, item, score.label).spans)
        if not (score.chosen or evidence):
            continue  # neither the model nor the note is for it
        match = before.match if before else None
        decided = score.chosen or (before is not None and before.decided)
        facts = (seen.get(score.label, 0), evidence, "both" if before else "model", match, sought)
        found[score.label] = Proposal(code, score.probability, score.probability, decided, *facts)
    if gone:
        codes_gone = "1 code" if gone == 1 else f"{gone} codes"
        remarks.append(f"Left out: {codes_gone} of the model that today's code tables no longer have.")
    if answer.unlike:
        unlike = "This note is unlike those the model learnt from: lean on your own reading."
        remarks.append(f"{unlike} {answer.strange}".strip())
    if answer.cut:
        remarks.append(f"The model did not read the last {answer.cut:.0%} of the note.")
    return answer


def _parted(found: Iterable[Proposal], most: int) -> tuple[tuple[Proposal, ...], tuple[Apart, ...]]:
    """Return what may be coded, best first, and what is only denied, a relative's, past or uncertain."""
    found = list(found)
    present = [one for one in found if any(each.status == "present" for each in one.evidence)]
    apart = [(one, one.evidence) for one in found if one.evidence and one not in present]
    named = {one.code.category for one in present}
    denied = {one.code.category: evidence for one, evidence in apart if one.code.category not in named}
    proposals = present
    for one in found:
        if not one.evidence and one.code.category in denied:
            # "Chest pain" is denied, and the model decides for another pain of the chest without any words for it.
            apart.append((one, denied[one.code.category]))
        elif not one.evidence:
            proposals.append(one)
    # What the model has a probability for comes before what only the dictionary found.
    proposals.sort(key=lambda one: (not one.decided, one.probability is None, -one.share, one.code.label))
    return tuple(proposals[:most]), _one_a_mention(apart)


def _one_a_mention(apart: Sequence[tuple[Proposal, tuple[Evidence, ...]]]) -> tuple[Apart, ...]:
    """Return one entry for all codes that were found in the same words: a model may offer six for one "breast cancer".

    The code that the dictionary holds for the words stands first, then the likeliest.
    """
    order = sorted(apart, key=lambda pair: (pair[0].match is None, -pair[0].share, pair[0].code.label))
    held: list[tuple[Proposal, tuple[Evidence, ...], list[Code]]] = []
    for one, evidence in order:
        also = next((codes for _, mentions, codes in held if _same_words(mentions, evidence)), None)
        if also is None:
            held.append((one, tuple(sorted(evidence, key=lambda each: each.start)), []))
        else:
            also.append(one.code)
    entries = [Apart(one.code, mentions[0], mentions[1:], tuple(also)) for one, mentions, also in held]
    return tuple(sorted(entries, key=lambda entry: entry.evidence.start))


def _same_words(ours: Iterable[Evidence], theirs: Sequence[Evidence]) -> bool:
    """Return whether two codes rest on overlapping words that are meant alike."""
    return any(
        one.status == other.status and one.start < other.end and other.start < one.end
        for one in ours
        for other in theirs
    )
