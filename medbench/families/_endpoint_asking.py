"""Texts become answers of a served model, and answers become scores; nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from medbench import journal
from medbench.errors import MedbenchError
from medbench.families._endpoint_server import Place, Refused, Server, Written, each_answer
from medbench.families._endpoint_words import Named, Question, Reading, Vocabulary, quote_messages, quotes

Scoring = Literal["tokens", "shares", "rank"]
Hold = Literal["no", "json_schema", "json_object"]
_REMEMBERED = 50_000  # answers
_TRIED = 3  # texts that the check asks about before it calls a model's answers prose
_ENUMERATED = 500  # labels that an answer's schema names
_QUOTED = 90  # characters of an answer that are shown when it cannot be read


@dataclass(frozen=True)
class Manner:
    """How a question is asked and its answer scored; saved with the model.

    Attributes:
        scoring: "tokens" (mean probability of a label's tokens), "shares" (share of the samples that name it), "rank"
            (1 for the label named first, 1/2 for the second, ...).
        samples: Answers to each text.
        temperature: How freely they are drawn; 0 takes the likeliest token.
        answer_tokens: Longest answer, in tokens.
        hold: Which `response_format` holds the answer to a JSON list of the labels.
        at_once: Questions under way at the same time.
    """

    scoring: Scoring = "rank"
    samples: int = 1
    temperature: float = 0.0
    answer_tokens: int = 200
    hold: Hold = "no"
    at_once: int = 2


@dataclass(frozen=True)
class Reply:
    """What a text got: whether it was answered, labels with their scores, words that are no label, and a quotation."""

    answered: bool
    named: tuple[tuple[str, float], ...] = ()
    unknown: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    said: str = ""


@dataclass
class Spent:
    """What asking has cost so far."""

    questions: int = 0
    again: int = 0
    read: int = 0
    wrote: int = 0
    cost: float | None = None
    texts: int = 0
    unanswered: int = 0
    unknown: int = 0
    outside: int = 0

    def sentence(self) -> str:
        """Return it in words."""
        tokens = f"{self.read:,} tokens read and {self.wrote:,} written" if self.read else "tokens not reported"
        cost = "no cost reported" if self.cost is None else f"{self.cost:.4f} US dollars"
        again = f" ({self.again:,} of them again)" if self.again else ""
        return f"{self.questions:,} questions{again}, {tokens}, {cost}."


class Asking:
    """Asks a served model about texts and remembers the answers. Threads may share it.

    Attributes:
        place, question, manner, words: Where, what and how it asks, and the labels.
        spent: What it has cost so far.
    """

    def __init__(self, place: Place, question: Question, manner: Manner, words: Vocabulary) -> None:
        """Open nothing yet; the first question does."""
        self.place, self.question, self.manner, self.words = place, question, manner, words
        self.spent = Spent()
        self.stop = threading.Event()
        self.tell: Callable[[int, int, str], None] = lambda done, total, sentence: None
        self._server: Server | None = None
        self._kept: OrderedDict[str, Reply] = OrderedDict()
        self._lock = threading.Lock()
        self._file: Path | None = None

    def keep_in(self, folder: Path | None) -> None:
        """Keep answers in a folder, too, so that a run that is resumed does not ask again; no text is written."""
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "answers.jsonl"
        for line in journal.whole_lines(self._file):
            facts = json.loads(line)
            key, named = facts.pop("key"), tuple((label, float(score)) for label, score in facts.pop("named"))
            self._kept[key] = Reply(facts["answered"], named, tuple(facts["unknown"]), tuple(facts["outside"]))

    def server(self) -> Server:
        """Return the server, opened when first needed. Raises MedbenchError when it may not be asked."""
        with self._lock:
            if self._server is None:
                self._server = Server(self.place, self.stop)
            return self._server

    def settings(self, sample: int = 0, tokens: bool | None = None) -> dict[str, Any]:
        """Return what goes with a question beside its messages."""
        manner = self.manner
        found: dict[str, Any] = {"temperature": manner.temperature, "max_tokens": manner.answer_tokens}
        if manner.samples > 1:
            found["seed"] = sample
        if manner.scoring == "tokens" if tokens is None else tokens:
            found |= {"logprobs": True, "top_logprobs": 1}  # llama-cpp-python gives none unless told how many
        schema = answer_schema(self.words)
        if manner.hold == "json_object":
            found["response_format"] = {"type": "json_object", "schema": schema}
        elif manner.hold == "json_schema":
            held = {"name": "answer", "strict": True, "schema": schema}
            found["response_format"] = {"type": "json_schema", "json_schema": held}
        return found

    def ask(self, text: str, sample: int = 0, tokens: bool | None = None) -> Written:
        """Ask about a text once and count what it cost. Raises what `Server.ask` raises."""
        return self._counted(self.question.messages(text, self.words), self.settings(sample, tokens))

    def _counted(self, messages: list[dict[str, str]], settings: dict[str, Any]) -> Written:
        return self._count(self.server().ask(messages, **settings))

    def _count(self, written: Written) -> Written:
        with self._lock:
            spent = self.spent
            spent.questions += 1 + written.again
            spent.again += written.again
            spent.read += written.read
            spent.wrote += written.wrote
            if written.cost is not None:
                spent.cost = (spent.cost or 0.0) + written.cost
        return written

    def replies(self, texts: Sequence[str]) -> list[Reply]:
        """Return what each text got; equal texts are asked about once, and what was answered is kept.

        Raises:
            MedbenchError: The server is silent, fails each time, or no longer gives what its answers are scored by.
            Stopped: When the user stopped.
        """
        keys = [_key(self.manner.scoring, text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept and text.strip()}
        todo = list(missing.items())
        done = 0

        def one(at: int) -> None:
            nonlocal done
            key, text = todo[at]
            reply = self._reply(text)
            with self._lock:
                self._remember(key, reply)
                done += 1
                if done % max(len(todo) // 200, 1) == 0 or done == len(todo):
                    self.tell(done, len(todo), f"{done:,} of {len(todo):,} texts: {self.spent.sentence()}")

        each_answer(one, len(todo), self.manner.at_once, self.stop)
        with self._lock:
            nothing = Reply(True)
            found = [self._kept.get(key, nothing) for key in keys]
            while len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)
        return found

    def _remember(self, key: str, reply: Reply) -> None:
        self._kept[key] = reply
        spent = self.spent
        spent.texts += 1
        spent.unanswered += not reply.answered
        spent.unknown += len(reply.unknown)
        spent.outside += len(reply.outside)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, **asdict(reply), "said": ""}, ensure_ascii=False) + "\n")

    def _reply(self, text: str) -> Reply:
        found: list[tuple[Reading, Written]] = []
        for sample in range(self.manner.samples):
            try:
                written = self.ask(text, sample)
            except Refused as error:  # this one text is refused: too long for the model, or filtered
                return Reply(False, said=str(error))
            found.append((self.words.read(written.text), written))
        return self.scored(found)

    def scored(self, found: Sequence[tuple[Reading, Written]]) -> Reply:
        """Return the reply that the answers to one text amount to."""
        read = [(reading, written) for reading, written in found if reading.answered]
        scores: dict[str, float] = {}
        for reading, written in read:
            for rank, named in enumerate(reading.named, start=1):
                if self.manner.scoring == "tokens":
                    score = self._likelihood(named, written)
                else:
                    score = 1 / len(read) if self.manner.scoring == "shares" else 1 / rank
                before = scores.get(named.label, 0.0)
                scores[named.label] = before + score if self.manner.scoring == "shares" else max(before, score)
        told = {
            name: tuple(dict.fromkeys(each for reading, _ in found for each in getattr(reading, name)))
            for name in ("unknown", "outside")
        }
        named_all = tuple((label, min(score, 1.0)) for label, score in scores.items())
        said = " ".join(found[0][1].text.split()) if found else ""
        return Reply(bool(read), named_all, **told, said=said[:_QUOTED] + ("…" if len(said) > _QUOTED else ""))

    def _likelihood(self, named: Named, written: Written) -> float:
        if not written.tokens:
            raise MedbenchError(
                f"token probabilities from the server at {self.server().host}, as when the model was calibrated",
                "an answer without them",
                "Start the server as it was then, or train again.",
            )
        return mean_likelihood(written, named.start, named.end)

    def quoted(self, text: str, label: str) -> list[tuple[int, int]]:
        """Return where the passages stand that the model copies from a text for a label; see `quotes`."""
        sent = self.question.sent(text)
        settings = {"temperature": 0.0, "max_tokens": self.manner.answer_tokens}
        return quotes(self._counted(quote_messages(sent, label), settings).text, sent)

    def check(self, texts: Sequence[str], wanted: Scoring | Literal["auto"]) -> Scoring:
        """See whether the server answers in labels, and return how its answers can be scored.

        Raises:
            MedbenchError: It is silent, refuses the question, or answers prose to the first texts.
        """
        tried = [text for text in texts if text.strip()][:_TRIED]
        said, refused = "", ""
        for text in tried:
            try:
                written = self.ask(text, tokens=False)
            except Refused as error:
                refused = str(error)
                continue
            said = " ".join(written.text.split())[:_QUOTED]
            if self.words.read(written.text).answered:
                break
        else:
            raise self._useless(said, refused, len(tried))
        if wanted == "auto" and self.manner.samples > 1:
            return "shares"
        if wanted in ("shares", "rank") or self._gives_tokens(text):
            return "tokens" if wanted == "auto" else wanted
        if wanted == "tokens":
            raise MedbenchError(
                "token probabilities (logprobs) beside the answer",
                f"none from the server at {self.server().host}",
                "Choose another scoring; llama-cpp-python gives them when started with --logits_all true.",
            )
        return "rank"

    def _useless(self, said: str, refused: str, count: int) -> MedbenchError:
        if refused and not said:
            return MedbenchError(
                "a question that the server takes", f"its refusal: {refused}", "Change the options that it names."
            )
        return MedbenchError(
            f"{self.words.kind} in the answers of {self.place.model!r}",
            f"others to {count} texts, such as {said!r}" if said else f"empty answers to {count} texts",
            "Choose a model that follows instructions, show it examples, or set hold to json_schema or json_object.",
        )

    def _gives_tokens(self, text: str) -> bool:
        """Return whether the server gives token probabilities; one that cannot may refuse or fail."""
        once = Server(Place(**{**asdict(self.place), "retries": 0}), self.stop)
        try:
            messages = self.question.messages(text, self.words)
            return bool(self._count(once.ask(messages, **self.settings(tokens=True))).tokens)
        except (Refused, MedbenchError):
            return False


def mean_likelihood(written: Written, start: int, end: int) -> float:
    """Return the geometric mean of the probabilities of the tokens that overlap characters [start, end) of an answer.

    Servers may strip white space from an answer, not from its tokens; where the two cannot be laid over each other, the
    mean is over all tokens.
    """
    joined = "".join(token for token, _ in written.tokens)
    shift = joined.find(written.text.strip()) - (len(written.text) - len(written.text.lstrip()))
    chosen, at = [], 0
    for token, chance in written.tokens:
        if joined.find(written.text.strip()) >= 0 and at < end + shift and at + len(token) > start + shift:
            chosen.append(chance)
        at += len(token)
    chosen = chosen or [chance for _, chance in written.tokens]
    return math.exp(min(sum(chosen) / len(chosen), 0.0))


def answer_schema(words: Vocabulary) -> dict[str, Any]:
    """Return the JSON schema of an answer: an object with a list of labels, of exactly one when the answer is "one"."""
    most = 1 if words.answer == "one" else min(len(words.words), 30)
    listed = {
        "type": "array",
        "items": {"type": "string", **({"enum": list(words.words)} if len(words.words) <= _ENUMERATED else {})},
        "minItems": 1 if words.answer == "one" else 0,
        "maxItems": most,
    }
    key = "codes" if words.coded else "labels"
    return {"type": "object", "properties": {key: listed}, "required": [key], "additionalProperties": False}


def _key(scoring: str, text: str) -> str:
    return hashlib.blake2b(f"{scoring}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
