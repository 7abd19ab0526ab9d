"""One text asked of a served language model that was never trained here: codes that exist, with their words, or labels.

Nothing it says is calibrated: there are no probabilities, only the model's own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medbench.assertions import assertions, read_mention
from medbench.codes import Code, tables
from medbench.codes_spotting import suggest
from medbench.errors import MedbenchError
from medbench.families.endpoint import FAMILY, EndpointModel, untrained
from medbench.records import Span

_ALL = 10_000  # the dictionary's codes
_QUOTED = 12  # codes for which the model is asked to quote its words; one question each
UNCALIBRATED = "The order is the model's own: it learnt nothing here, so there are no probabilities."


@dataclass(frozen=True, slots=True)
class Words:
    """Words of the text that support a label: characters [start, end), and how they are meant."""

    start: int
    end: int
    status: str = "present"


@dataclass(frozen=True, slots=True)
class Said:
    """A label that the model named, with its words in the text; `code` is None for labels that are no codes."""

    label: str
    code: Code | None
    words: tuple[Words, ...] = ()

    @property
    def present(self) -> bool:
        """False when all its words are denied, a relative's, past or uncertain."""
        return not self.words or any(each.status == "present" for each in self.words)


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """What a served model says of a text.

    Attributes:
        text: The text.
        model: What the server calls the model.
        address: Where it is served.
        named: Labels in the model's order; of codes only those that stand in the table, not only denied or past.
        apart: Codes that it named although the text says them only denied, of a relative, past or uncertain.
        remarks: What the reader has to know, one sentence each.
    """

    text: str
    model: str
    address: str
    named: tuple[Said, ...]
    apart: tuple[Said, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it JSON-ready; evidence carries its words."""
        codes = any(one.code for one in (*self.named, *self.apart))
        facts: dict[str, Any] = {"model": self.model, "endpoint": self.address}
        facts |= {"codes" if codes else "labels": [self._row(one) for one in self.named]}
        facts |= {"set_apart": [self._row(one) for one in self.apart]} if codes else {}
        return {**facts, "remarks": list(self.remarks)}

    def _row(self, one: Said) -> dict[str, Any]:
        if one.code is None:
            return {"label": one.label}
        code = one.code
        facts: dict[str, Any] = {"code": code.code, "version": code.version, "kind": code.kind}
        facts |= {"description": code.text, "billable": code.billable}
        evidence = [
            {"start": each.start, "end": each.end, "status": each.status, "words": self.text[each.start : each.end]}
            for each in one.words
        ]
        return {**facts, "evidence": evidence}

    def lines(self) -> list[str]:
        """Return it in words."""
        told = []
        for one in self.named:
            told.append(self._line(one))
            told += [f"    {self._shown(one)}"] if one.code else []
        told += [] if self.named else ["The model names none."]
        if self.apart:
            told += ["", "Set apart, not to be coded:"]
            told += [f"{self._line(one)}  ({one.words[0].status}: {self._shown(one)})" for one in self.apart]
        return [*told, "", *self.remarks]

    def _line(self, one: Said) -> str:
        if one.code is None:
            return one.label
        return f"{one.label}  {one.code.text}{'' if one.code.billable else '  (not billable)'}"

    def _shown(self, one: Said) -> str:
        said = dict.fromkeys(" ".join(self.text[each.start : each.end].split()) for each in one.words)
        return "; ".join(f"“{each}”" for each in said) or "nothing in the text supports it"


def ask(text: str, options: dict[str, Any], labels: Sequence[str] = ()) -> ServedAnswer:
    """Ask a served model for a text's codes of ICD-10-CM, or which of some labels fit it.

    Args:
        text: The text.
        options: Options of the family `endpoint`: address, model, allow_remote, ...
        labels: The labels to choose from; none for codes.

    Raises:
        MedbenchError: The text is empty, or the server may not be asked, is silent, fails, or answers prose.
    """
    if not text.strip():
        raise MedbenchError("a text to label", "an empty one", "Give a text with words.")
    held = tables()
    model = untrained(FAMILY.parse(options), tuple(labels) or tuple(held.labels("icd10cm")), "many")
    reply = model.replies([text])[0]
    if not reply.answered:
        raise MedbenchError(
            f"{'labels' if labels else 'codes'} from {options['model']!r} as its answer",
            repr(reply.said) if reply.said else "nothing",
            "Choose a model that follows instructions.",
        )
    named = [Said(label, held.get(label)) for label, _ in reply.named]
    named = named if labels else _with_words(model, text, named)
    remarks = [UNCALIBRATED, model.asking.spent.sentence()]
    if reply.unknown:
        remarks.append(f"Left out, because they stand in no table: {', '.join(reply.unknown)}.")
    if cut := model.asking.question.cut(text):
        remarks.append(f"The last {cut:.0%} of the text was not sent.")
    if not labels:
        remarks.append(f"Codes of ICD-10-CM {held.release('icd10cm')}.")
    place = model.asking.place
    here, apart = ([one for one in named if one.present is wanted] for wanted in (True, False))
    return ServedAnswer(text, place.model, place.address, tuple(here), tuple(apart), tuple(remarks))


def _with_words(model: EndpointModel, text: str, named: Sequence[Said]) -> list[Said]:
    """Find each code's words: by the dictionary, else those that the model quotes; and read how they are meant."""
    scopes = assertions(text)
    known = {one.code.label: one.spans for one in suggest(text, limit=_ALL)}
    found = []
    for at, one in enumerate(named):
        spans: Sequence[Span] = known.get(one.label, ())
        if not spans and at < _QUOTED:
            spans = model.reasons(text, one.label).spans
        words = []
        for span in spans:
            reading = read_mention(text, scopes, span.start, span.end)
            words.append(Words(span.start, span.end, "present" if reading.codable else reading.status))
        found.append(Said(one.label, one.code, tuple(words)))
    return found
