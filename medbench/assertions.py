"""Whether what a note mentions is present, negated, of another person, past, or uncertain (the ConText algorithm).

A trigger ("denies", "history of", "was ruled out") opens a scope to its right or left, which ends with the sentence, at
a terminator ("but", "presents with"), or after a number of words. A mention inside a scope takes the trigger's status.
Pseudo-triggers ("no change", "gram negative") open nothing. Sections such as FAMILY HISTORY are scopes too. See
`assertion_rules` for the table and its source. Rules of thumb: they reach what tests and `benchmarks/RESULTS.md` state.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from medbench.assertion_rules import OF_THIS_STAY, RULES, SECTION_STATUS, SHARED, TERMINATORS, Rule, Status
from medbench.assertion_scopes import Assertion, Scopes
from medbench.assertion_words import (
    BEGINS,
    BESIDE,
    CHRONIC,
    ENDS_A_PROCEDURE,
    KIN,
    NOT_BETWEEN,
    POSSESSIVES,
    SUBJECTS,
    SUFFERS,
    TELLS,
)
from medbench.notes import Section, sections, sentences

# A mention in several scopes takes the first of these: what is denied of a relative or of the past is denied.
_PRECEDENCE: tuple[Status, ...] = ("negated", "family", "uncertain", "historical")
_TOKEN = re.compile(r"[^\W\d_]+|['’](?:s|t|re|ve|d|ll|m)\b|\d+(?:[.,]\d+)*|\?+|[^\w\s]")
_CHOICE = re.compile(r"\{([^{}]*)\}")
_YEAR = re.compile(r"(?:19|20)\d\d")
_LONG_SECTION = 800  # characters
_KIN_REACH = 7  # words after a relative within which a verb of telling makes the relative a witness


@dataclass(frozen=True, slots=True)
class Reading:
    """How one mention is to be read.

    Attributes:
        status: Its status.
        cause: The scope that decided it, None when it is present.
        chronic: True for a past mention of a condition that is as a rule still there ("history of hypertension") and of
            which the note does not say that it is over. Coders code it.
    """

    status: Status
    cause: Assertion | None = None
    chronic: bool = False

    @property
    def codable(self) -> bool:
        """Tell whether the mention may be coded as a condition of the patient now."""
        return self.status == "present" or (self.status == "historical" and self.chronic)


def read_mention(text: str, scopes: Sequence[Assertion], start: int, end: int) -> Reading:
    """Return how the mention at `start`-`end` is to be read, with the scope that says so.

    Args:
        text: The note.
        scopes: What `assertions(text)` returned.
        start: First character of the mention.
        end: One past its last character.
    """
    status, causes = _decide(scopes, start, end)
    chronic = status == "historical" and not any(one.ended for one in causes)
    return Reading(status, causes[0] if causes else None, chronic and CHRONIC.search(text, start, end) is not None)


def _decide(scopes: Sequence[Assertion], start: int, end: int) -> tuple[Status, list[Assertion]]:
    near = scopes.meeting(start, end) if isinstance(scopes, Scopes) else scopes
    covering = [one for one in near if one.start < end and start < one.end and _covers(one, start, end)]
    for status in _PRECEDENCE:
        causes = [one for one in covering if one.status == status]
        if causes:
            return status, causes
    return "present", []


def _covers(scope: Assertion, start: int, end: int) -> bool:
    """Tell whether a scope that meets a mention holds, with its trigger, at least half of it.

    A mention that holds the whole trigger is about it ("family history of breast cancer" has a code of its own).
    """
    if start <= scope.trigger_start and scope.trigger_end <= end:
        return False
    beside = scope.trigger_end <= scope.start + 1 or scope.end <= scope.trigger_start + 1
    low = min(scope.start, scope.trigger_start) if beside else scope.start
    high = max(scope.end, scope.trigger_end) if beside else scope.end
    return 2 * (min(high, end) - max(low, start)) >= end - start


def assertions(text: str) -> Scopes:
    """Return every scope of a note in the order of their triggers: time linear in the note's length."""
    parts = sections(text)
    spans = sentences(text, parts)
    starts = [part.start for part in parts]
    found = [scope for part in parts for scope in _section_scope(text, part)]
    for at, (start, _) in enumerate(spans):
        part = parts[max(0, bisect_left(starts, start + 1) - 1)]
        if start < part.body_start:
            continue  # the heading itself
        found += _sentence_scopes(text, spans, at, part.name in OF_THIS_STAY)
    return Scopes(sorted(found, key=lambda one: (one.trigger_start, one.start)))


def _section_scope(text: str, part: Section) -> Iterator[Assertion]:
    if part.name in SECTION_STATUS and part.body_start < part.end:
        status, ended = SECTION_STATUS[part.name]
        head = part.start + text[part.start : part.body_start].index(part.title)
        yield Assertion(
            part.body_start, _section_end(text, part), status, head, head + len(part.title), part.title, ended
        )


def _section_end(text: str, part: Section) -> int:
    """Return where a section's status ends.

    Prose without further headings often says "Family history: unremarkable." in passing: a section that begins beside
    its heading and runs on and on is taken to be the one line.
    """
    line_end = text.find("\n", part.body_start, part.end)
    beside = line_end > 0 and text[part.body_start : line_end].strip() != ""
    return line_end if beside and part.end - part.body_start > _LONG_SECTION else part.end


@dataclass(frozen=True, slots=True)
class _Match:
    """A phrase found in a sentence: tokens `first` to `last` (exclusive) and what it is."""

    first: int
    last: int
    rules: tuple[Rule, ...]
    ends: frozenset[str]


@dataclass(slots=True)
class _Node:
    """A trie of phrases over tokens."""

    after: dict[str, _Node] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    ends: frozenset[str] = frozenset()


def expand(phrase: str) -> list[str]:
    """Return every reading of a phrase with choices: "{no|without} rash" gives two."""
    found = _CHOICE.search(phrase)
    if found is None:
        return [" ".join(phrase.split())]
    readings: list[str] = []
    for choice in found[1].split("|"):
        readings += expand(phrase[: found.start()] + f" {choice} " + phrase[found.end() :])
    return readings


def phrases_of(table: str) -> set[str]:
    """Return every phrase of a table: one a line, but a choice may go on over line ends."""
    found: set[str] = set()
    phrase = ""
    for name, choice in SHARED.items():
        table = table.replace(name, choice)
    for line in table.splitlines():
        phrase += f" {line.strip()}"
        if phrase.count("{") == phrase.count("}"):
            found.update(expand(phrase))
            phrase = ""
    return found - {""}


@lru_cache(maxsize=1)
def _trie() -> _Node:
    root = _Node()

    def node_of(phrase: str) -> _Node:
        node = root
        for word in phrase.split():
            node = node.after.setdefault(word, _Node())
        return node

    for rule in RULES:
        for phrase in phrases_of(rule.phrases):
            node = node_of(phrase)
            node.rules = (*node.rules, rule)
    for status, phrases in TERMINATORS.items():
        for phrase in phrases_of(phrases):
            node = node_of(phrase)
            node.ends |= {status}
    return root


class _Tokens:
    """The tokens of one sentence."""

    def __init__(self, text: str, start: int, end: int) -> None:
        found = list(_TOKEN.finditer(text, start, end))
        self.spans = [one.span() for one in found]
        self.words = [one[0].lower() for one in found]
        if "’" in text:
            self.words = [word.replace("’", "'") for word in self.words]

    def __len__(self) -> int:
        return len(self.words)


@lru_cache(maxsize=8192)
def _kinds(word: str) -> tuple[str, ...]:
    """Return the classes a token belongs to, as the table names them."""
    if word in KIN:
        return ("<kin>",)
    if word[0].isdigit():
        return ("<year>", "<n>") if _YEAR.fullmatch(word) else ("<n>",)
    return ()


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") and len(word) > 4 and word not in NOT_BETWEEN


def _onwards(node: _Node, words: list[str], at: int) -> list[tuple[_Node, int]]:
    """Return where the token at this place leads to."""
    word = words[at]
    found = [(node.after[word], at + 1)] if word in node.after else []
    found += [(node.after[kind], at + 1) for kind in _kinds(word) if kind in node.after]
    return found


def _longest(words: list[str], first: int) -> _Match | None:
    """Return the longest phrase of the table that begins at this token."""
    best: _Match | None = None
    waiting = [(_trie(), first)]
    while waiting:
        node, at = waiting.pop()
        if (node.rules or node.ends) and (best is None or at > best.last):
            best = _Match(first, at, node.rules, node.ends)
        over = node.after.get("<end>")
        if over is not None and (at == len(words) or words[at] in ".;,)") and (best is None or at >= best.last):
            best = _Match(first, at, over.rules, over.ends)
        if at < len(words) and node.after:
            waiting += _onwards(node, words, at)
            if at > first and at + 1 < len(words) and _is_adverb(words[at]):
                waiting += _onwards(node, words, at + 1)
    return best


def _matches(words: list[str]) -> list[_Match]:
    """Return the phrases in a sentence, longest first at each place; triggers do not overlap."""
    found: list[_Match] = []
    at, begins = 0, _trie().after
    while at < len(words):
        match = _longest(words, at) if words[at] in begins or _kinds(words[at]) else None
        found += [match] if match is not None else []
        # What only ends scopes may begin a trigger with its later words: "and has", "has resolved".
        at = match.last if match is not None and match.rules else at + 1
    return found


def _sentence_scopes(text: str, spans: list[tuple[int, int]], at: int, this_stay: bool) -> Iterator[Assertion]:
    tokens = _Tokens(text, *spans[at])
    matches = _matches(tokens.words)
    for match in matches:
        for rule in match.rules:
            if rule.status == "present" or (rule.kept_in_course and this_stay):
                continue
            if tokens.words[match.first] in KIN and rule.direction == "forward" and _tells(tokens.words, match):
                continue
            for low, high in _reaches(tokens.words, matches, match, rule):
                if low < high:
                    start, end = tokens.spans[low][0], tokens.spans[high - 1][1]
                    yield _assertion(text, tokens, match, rule, start, end)
            if rule.direction != "backward" and _opens_list(text, tokens, match):
                below = _bullets(text, spans, at)
                if below is not None:
                    yield _assertion(text, tokens, match, rule, *below)


def _assertion(text: str, tokens: _Tokens, match: _Match, rule: Rule, start: int, end: int) -> Assertion:
    first, last = tokens.spans[match.first][0], tokens.spans[max(match.last, match.first + 1) - 1][1]
    return Assertion(start, end, rule.status, first, last, text[first:last], rule.ended)


def _tells(words: list[str], match: _Match) -> bool:
    """Tell whether the relative is a witness or company, not the one who has the finding."""
    before = match.first - 1
    while before >= 0 and words[before] in POSSESSIVES:
        before -= 1
    if before >= 0 and words[before] in BESIDE and words[match.last : match.last + 1] != [":"]:
        return SUFFERS.isdisjoint(words[match.last : match.last + 1])
    for at, word in enumerate(words[match.last : match.last + _KIN_REACH], start=match.last):
        if word in SUFFERS:
            return False
        if word in TELLS:
            return word not in ("found", "noted") or words[at - 1] not in ("was", "were", "been")
    return False


def _reaches(words: list[str], matches: list[_Match], match: _Match, rule: Rule) -> Iterator[tuple[int, int]]:
    """Yield the scopes of a trigger as token ranges."""
    listing = words[match.last : match.last + 1] == [":"]
    if rule.direction != "backward":
        stop = len(words) if not rule.limit else min(len(words), match.last + rule.limit)
        ends = [one.first for one in matches if one.first >= match.last and _stops(words, match, one, rule, listing)]
        if not rule.commas:
            ends += [at for at in range(match.last + 1, stop) if words[at] == ","]
        if rule.ended:
            ends += [at for at in range(match.last + 1, stop) if words[at] in ENDS_A_PROCEDURE]
        yield match.last, min([stop, *ends])
    if rule.direction != "forward":
        stop = 0 if not rule.limit else max(0, match.first - rule.limit)
        ends = [one.last for one in matches if one.last <= match.first and _halts(one, match, rule)]
        if not rule.commas:
            ends += [at + 1 for at in range(stop, match.first - 1) if words[at] == ","]
        low = max([stop, *ends])
        # "Diagnosed with multiple sclerosis in 2009": the date says when it began.
        began = rule.status == "historical" and not BEGINS.isdisjoint(words[max(0, low - 2) : match.first])
        yield (match.first if began else low), match.first


def _stops(words: list[str], match: _Match, other: _Match, rule: Rule, listing: bool) -> bool:
    """Tell whether another phrase to the right ends a forward scope."""
    if other.ends & {"all"}:
        return not (listing and words[other.first] == ";")
    if rule.status not in other.ends:
        return False
    if rule.status not in ("negated", "uncertain"):
        return True
    # "Denies that she has pain": the verb belongs to the trigger; so does a subject right after it.
    between = words[match.last : other.first]
    return not (len(between) < 5 and all(word in SUBJECTS for word in between))


def _halts(other: _Match, match: _Match, rule: Rule) -> bool:
    """Tell whether another phrase to the left ends a backward scope."""
    if "all" in other.ends:
        return True
    if other.last == match.first:
        return False  # the trigger's own verb: "was" in "was not seen"
    if rule.status == "negated":
        return "negated" in other.ends
    if rule.status == "historical":
        return "before historical" in other.ends or any(one.status == "historical" for one in other.rules)
    return any(one.status == rule.status == "uncertain" for one in other.rules)


def _opens_list(text: str, tokens: _Tokens, match: _Match) -> bool:
    """Tell whether a trigger ends its line with a colon, as in "Denies:" above a list."""
    return tokens.words[match.last :] == [":"]


def _bullets(text: str, spans: list[tuple[int, int]], at: int) -> tuple[int, int] | None:
    """Return the range of the bulleted lines right below sentence `at`."""
    last = at
    while last + 1 < len(spans) and text[spans[last + 1][0]] in "-*•·–▪●" and last - at < 40:
        if "\n\n" in text[spans[last][1] : spans[last + 1][0]]:
            break
        last += 1
    return (spans[at + 1][0], spans[last][1]) if last > at else None
