"""What a served model is asked, and how its answer is read: only labels of the model can come out, never others."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medbench.attribution import word_spans
from medbench.codes import TITLES, VERSIONS, Version, tables
from medbench.families._causal_prompts import short_words
from medbench.records import AnswerKind

_BEFORE = re.compile(r"[\s>*_`\"'“”‘’\[\](){}•·–—-]*(?:\(?\d{1,3}[.)]\s+)?[\s*_`\"'“”‘’\[(]*")
_AFTER = " \t\r.*_`\"'“”‘’[](){}"
_HEAD = re.compile(
    r"(?:here (?:is|are) )?(?:the |my )?(?:final |correct |most likely |medical )*"
    r"(?:icd[- ]?\d+(?:[- ]?(?:cm|pcs))? ?)?"
    r"(?:answers?|labels?|codes?|diagnos[ei]s|class(?:es)?|categor(?:y|ies)|domains?)?(?: (?:is|are))?\s*[:=]\s*",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?:icd[- ]?\d+(?:[- ]?(?:cm|pcs))?[: ]\s*)?([a-z0-9]{3,7}(?:\.[a-z0-9]{1,4})?)", re.IGNORECASE)
_TOLD_APART = re.compile(r"\s*(?:[-–—:=]\s|[([]|\*\*|$)|\s+[-–—:=]")
_DENIED = re.compile(r"[\s:=([–—-]*(?:no|not|denie[ds]|absent|excluded|ruled out|unsupported)\b", re.IGNORECASE)
_NOTHING = frozenset({"none", "no label", "no labels", "no code", "no codes", "nothing", "n/a", "null", "[]", "{}"})
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_KEYS = (
    "codes",
    "labels",
    "answer",
    "answers",
    "icd_codes",
    "diagnoses",
    "result",
    "code",
    "label",
    "icd_code",
    "name",
)


@dataclass(frozen=True)
class Named:
    """A label that an answer names, and where in the answer: characters [start, end)."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """What an answer says.

    Attributes:
        answered: False for prose, an empty answer and, where one label is asked for, several: nothing may be read in.
        named: The model's labels in the order of the answer, each once.
        unknown: Words in the place of a label that are none; for codes, that stand in no table.
        outside: Real codes that are not among the model's labels.
    """

    answered: bool
    named: tuple[Named, ...] = ()
    unknown: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


class Vocabulary:
    """The labels that may be named, their short words, and how an answer is read back into them."""

    def __init__(self, labels: Sequence[str], answer: AnswerKind) -> None:
        """Take the labels of a model; those of the form `icd10cm:E11.9` are read as codes."""
        self.labels, self.answer = tuple(labels), answer
        versions = Counter(version for label in labels for version in VERSIONS if label.startswith(f"{version}:"))
        self.versions: tuple[Version, ...] = tuple(version for version, _ in versions.most_common())
        self.coded = 2 * sum(versions.values()) > len(labels)
        self.words = short_words(labels) if labels else ()
        self._by_word = {_plain(word): label for word, label in zip(self.words, labels, strict=True)}
        self._by_word |= {_plain(label): label for label in labels}
        self._known = frozenset(labels)
        self.one_a_line = any("," in label for label in labels)

    @property
    def kind(self) -> str:
        """What the labels are, for the question: "labels", or which codes."""
        return f"{' or '.join(TITLES[each] for each in self.versions)} codes" if self.coded else "labels"

    def written(self, labels: Sequence[str]) -> str:
        """Return labels as the answer of an example."""
        words = dict(zip(self.labels, self.words, strict=True))
        return ("\n" if self.one_a_line else ", ").join(words[label] for label in labels) or "none"

    def read(self, said: str) -> Reading:
        """Read an answer: JSON, or labels with commas, semicolons or line breaks; a description may follow a label."""
        said = _THOUGHTS.sub(lambda found: " " * len(found.group()), said)
        listed = _from_json(said)
        if listed is not None:
            pieces = list(_placed(said, listed))
            meant = [self._meant(said[start:end]) for start, end in pieces]
            return self._reading(meant, pieces, 0, empty=not listed)
        return self._from_lines(said)

    def _from_lines(self, said: str) -> Reading:
        meant, places, prose = [], [], 0
        for line in re.finditer(r"[^\n]+", said):
            described = False
            for start, end in self._pieces(said, line.start(), line.end()):
                piece = said[start:end]
                found = self._meant(piece)
                if found[0] == "prose":
                    prose += not described
                    continue
                described = described or found[2] < len(piece)
                meant.append(found)
                places.append((start, start + found[2]))
        return self._reading(meant, places, prose)

    def _pieces(self, said: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of a line that may be a label each, bare of bullets, quotes and "Codes:"."""
        whole = _bare(said, start, end)
        if whole and _plain(said[slice(*whole)]) in self._by_word:
            yield whole
            return
        if whole and (head := _HEAD.match(said, *whole)) and head.end() > whole[0]:
            start = head.end()
        at = start
        for cut in [*(found.start() for found in re.finditer(r"[,;|]", said[start:end])), end - start]:
            if bare := _bare(said, at, start + cut):
                yield bare
            at = start + cut + 1

    def _meant(self, piece: str) -> tuple[str, str, int]:
        """Return how a piece reads ("named", "outside", "unknown", "nothing", "prose"), the label, and its length."""
        plain = _plain(piece)
        if plain in self._by_word:
            return "named", self._by_word[plain], len(piece)
        if plain in _NOTHING:
            return "nothing", "", len(piece)
        found = _CODE.match(piece) if self.coded else None
        if found and any(letter.isdigit() for letter in found.group(1)) and _TOLD_APART.match(piece, found.end()):
            if _DENIED.match(piece, found.end()):
                return "prose", "", len(piece)
            return *self._code(found.group(1)), found.end()
        for cut in re.finditer(r"\s*[([:]|\s+[-–—=]\s", piece):
            if _plain(piece[: cut.start()]) in self._by_word:
                return "named", self._by_word[_plain(piece[: cut.start()])], cut.start()
        return "prose", "", len(piece)

    def _code(self, typed: str) -> tuple[str, str]:
        """Return the label that a typed code means: itself, or the nearest heading above it that is a label."""
        held = tables()
        for version in self.versions:
            code = held.find(typed, version)
            if code is None:
                continue
            above = [code, *held.ancestors(code.label)]
            label = next((each.label for each in above if each.label in self._known), None)
            return ("named", label) if label else ("outside", code.label)
        return "unknown", typed

    def _reading(
        self, meant: Sequence[tuple[str, str, int]], places: Sequence[tuple[int, int]], prose: int, empty: bool = False
    ) -> Reading:
        """Return what the pieces amount to: an answer, unless more of them are prose than labels."""
        named: dict[str, Named] = {}
        for (how, label, length), (start, _) in zip(meant, places, strict=True):
            if how == "named":
                named.setdefault(label, Named(label, start, start + length))
        hows = Counter(how for how, _, _ in meant)
        prose += hows["prose"]
        answered = empty or bool(hows["named"] + hows["nothing"] + hows["outside"])
        answered = answered and prose <= len(meant) - hows["prose"]
        if self.answer == "one":
            answered = answered and len(named) == 1
        unknown, outside = (
            tuple(dict.fromkeys(label for how, label, _ in meant if how == each)) for each in ("unknown", "outside")
        )
        return Reading(answered, tuple(named.values()) if answered else (), unknown, outside)


def _plain(word: str) -> str:
    return " ".join(word.strip(_AFTER).casefold().split())


def _bare(said: str, start: int, end: int) -> tuple[int, int] | None:
    """Return a stretch without bullets, numbers and quotes around it; None when nothing is left."""
    begun = _BEFORE.match(said, start, end)
    start = begun.end() if begun else start
    kept = said[start:end].rstrip(_AFTER)
    return (start, start + len(kept)) if kept else None


def _from_json(said: str) -> list[str] | None:
    """Return the labels of the first JSON list or object in an answer, None when there is none."""
    for found in re.finditer(r"[\[{]", said):
        try:
            value, _ = json.JSONDecoder().raw_decode(said, found.start())
        except (ValueError, RecursionError):
            continue
        listed = _listed(value)
        if listed is not None:
            return listed
    return None


def _listed(value: Any, depth: int = 0) -> list[str] | None:
    if isinstance(value, str):
        return [value] if depth else None
    if depth > 3:
        return None
    if isinstance(value, list):
        parts = [_listed(each, depth + 1) for each in value]
        return None if any(part is None for part in parts) else [each for part in parts for each in part or []]
    if isinstance(value, Mapping):
        key = next((key for key in _KEYS if key in value), None)
        if key is not None:
            return _listed(value[key], depth + 1)
        if value and all(isinstance(each, bool | int | float) for each in value.values()):
            return [str(name) for name, said in value.items() if said]
    return None


def _placed(said: str, listed: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where each string stands in the answer, in turn; those written with escapes are passed over."""
    at = 0
    for each in listed:
        found = said.find(each, at) if each.strip() else -1
        if found >= 0:
            yield found, found + len(each)
            at = found + len(each)


@dataclass(frozen=True)
class Question:
    """How texts are put to a served model; saved with it.

    Attributes:
        instruction: What stands before the first text; empty for the usual words.
        listed: With at most so many labels, all are listed in the question.
        most_words: Words of a text that are sent.
        examples: Texts with their labels that are shown before.
    """

    instruction: str = ""
    listed: int = 100
    most_words: int = 1500
    examples: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def messages(self, text: str, words: Vocabulary) -> list[dict[str, str]]:
        """Return the turns that ask for a text's labels."""
        turns = []
        for shown, labels in self.examples:
            turns += [_turn("user", f"Text:\n{self.sent(shown)}"), _turn("assistant", words.written(labels))]
        turns.append(_turn("user", f"Text:\n{self.sent(text)}\n\nAnswer:"))
        turns[0]["content"] = f"{self.asked(words)}\n\n{turns[0]['content']}"
        return turns

    def asked(self, words: Vocabulary) -> str:
        """Return the instruction, the labels where they are few, and the form of the answer."""
        usual = "Which of these labels fits the following medical text?"
        if words.coded:
            usual = (
                f"Name the {words.kind} of the following clinical text: what the patient has now, nothing that is "
                "denied, suspected, past or a relative's."
            )
        parts = [self.instruction.strip() or usual]
        if len(words.words) <= self.listed:
            parts.append(f"Possible {words.kind}: {('; ' if words.one_a_line else ', ').join(words.words)}.")
        form = "one per line" if words.one_a_line else "separated by commas"
        what = "codes" if words.coded else "labels"
        many = f"Answer with the {what} only, {form}, the surest first, no other words. If none fits, answer: none."
        parts.append("Answer with exactly one of the labels, no other words." if words.answer == "one" else many)
        return "\n".join(parts)

    def sent(self, text: str) -> str:
        """Return the part of a text that is sent."""
        spans = word_spans(text)
        return text if len(spans) <= self.most_words else text[: spans[self.most_words - 1][1]]

    def cut(self, text: str) -> float:
        """Return the share of a text's words that is not sent, 0-1."""
        count = len(word_spans(text))
        return max(count - self.most_words, 0) / count if count else 0.0


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def quote_messages(text: str, label: str) -> list[dict[str, str]]:
    """Return the turn that asks for the words of a text that support a label."""
    return [
        _turn(
            "user",
            f"Copy from the following medical text the exact words that support “{label}”, one passage per line, "
            f"nothing else. If no words do, answer: none.\n\nText:\n{text}\n\nPassages:",
        )
    ]


def quotes(said: str, text: str) -> list[tuple[int, int]]:
    """Return where the passages of an answer stand in the text, as whole words, in order, none twice.

    What does not stand there word for word, apart from case and white space, is left out.
    """
    found: set[tuple[int, int]] = set()
    for line in re.finditer(r"[^\n]+", _THOUGHTS.sub(" ", said)):
        bare = _bare(line.group(), 0, len(line.group()))
        words = line.group()[slice(*bare)].split() if bare else []
        if words and " ".join(words).casefold() not in _NOTHING:
            pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)"
            found |= {match.span() for match in re.finditer(pattern, text, re.IGNORECASE)}
    kept: list[tuple[int, int]] = []
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept
