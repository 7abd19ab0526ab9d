"""A model that somebody else serves: any OpenAI-compatible server is asked for labels through LiteLLM. Trains nothing.

Files in a model's folder, written by `EndpointModel.save`:

    endpoint.json    address, model's name, name of the key's variable (never the key), labels, question with examples
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from medbench.errors import MedbenchError
from medbench.families import Estimate, Family, FamilyOptions, Fitting, Model
from medbench.families._endpoint_asking import Asking, Manner, Reply, Spent
from medbench.families._endpoint_server import Place, Refused, address_host, check_place, is_loopback, is_variable
from medbench.families._endpoint_words import Question, Vocabulary
from medbench.families._hashed_words import hashed_words
from medbench.records import AnswerKind, Device, Examples, Explanation, ItemKind, Scores, Span
from medbench.workspace import read_json, write_json

_CARD = "endpoint.json"
_DRAWN = 0.7  # temperature of several answers
_HELD_OUT = 0.43  # validation and test rows beside 100 train rows of a 70/15/15 split
_SCORED = {
    "tokens": "the mean probability of a label's tokens",
    "shares": "the share of the answers to a text that name a label",
    "rank": "the place at which an answer names a label (1, 1/2, 1/3, ...)",
}
EXPERT: dict[str, Any] = {"expert": True}


class EndpointOptions(FamilyOptions):
    """Options of `endpoint`."""

    address: str = Field(
        "http://127.0.0.1:8000/v1",
        min_length=1,
        description="Base address of an OpenAI-compatible server (llama.cpp, vLLM, LM Studio, Ollama, ...).",
    )
    model: str = Field("local", min_length=1, max_length=200, description="What the server calls the model.")
    allow_remote: bool = Field(
        False,
        description="TEXTS LEAVE THIS COMPUTER: every text, examples included, is sent to a server elsewhere. Only "
        "where you have leave to send them.",
        json_schema_extra={"label": "Let texts leave this computer"},
    )
    key_variable: str = Field(
        "",
        description="Name of the environment variable that holds the server's key, never the key itself; empty: none.",
        json_schema_extra={"secret": True},
    )
    examples: int = Field(
        0, ge=0, le=50, description="Training texts with their labels that are shown in every question, a count."
    )
    scoring: Literal["auto", "tokens", "shares", "rank"] = Field(
        "auto",
        description="What scores come from: token probabilities, shares of several answers, the order of the labels, "
        "or what the server gives (auto).",
    )
    samples: int = Field(1, ge=1, le=50, description="Answers to each text, a count; several give shares.")
    instruction: str = Field(
        "", max_length=4000, description="What is asked of each text, some sentences; empty for the usual words."
    )
    max_words: int = Field(1500, ge=8, le=200_000, description="Most words of a text that are sent, a count.")
    hold: Literal["no", "json_schema", "json_object"] = Field(
        "no",
        description="Have the server hold its answer to a JSON list of the labels: json_schema (OpenAI, vLLM) or "
        "json_object (llama.cpp).",
        json_schema_extra=EXPERT,
    )
    listed: int = Field(
        100,
        ge=0,
        le=5000,
        description="With at most so many labels the question lists them all, a count.",
        json_schema_extra=EXPERT,
    )
    answer_tokens: int = Field(
        200, ge=4, le=32_768, description="Longest answer, in tokens; models that think aloud need thousands."
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="How freely answers are drawn, 0-2; empty means 0 for one answer and 0.7 for several.",
        json_schema_extra=EXPERT,
    )
    timeout: float = Field(60, gt=0, le=3600, description="Longest wait for an answer, in seconds.")
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="How often a question is asked again, after a growing pause, when the server is busy or fails, a "
        "count.",
        json_schema_extra=EXPERT,
    )
    at_once: int = Field(2, ge=1, le=64, description="Questions under way at the same time, a count.")

    @field_validator("key_variable")
    @classmethod
    def _a_name(cls, value: str) -> str:
        if not is_variable(value):
            raise ValueError("name an environment variable in capitals, such as OPENAI_API_KEY, never the key itself")
        return value


class EndpointModel(Model):
    """A served model with the question that it is asked."""

    dear: ClassVar[bool] = True

    def __init__(self, labels: tuple[str, ...], answer: AnswerKind, asking: Asking) -> None:
        """Take the labels, the kind of answer, and who is asked how."""
        self.labels, self.answer, self.asking = labels, answer, asking
        self._column = {label: at for at, label in enumerate(labels)}

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) float32: what the answers say, 0 for labels not named; see `Manner.scoring`.

        When the answer is "one", what is left of 1 is spread over the other labels.

        Raises:
            MedbenchError: The server is silent, fails, or may not be asked.
        """
        out = np.zeros((len(items), len(self.labels)), dtype=np.float32)
        for row, reply in enumerate(self.asking.replies(items)):
            for label, score in reply.named:
                out[row, self._column[label]] = score
        if self.answer == "one" and len(self.labels):
            rest = (1 - out.sum(axis=1, keepdims=True)) / max(len(self.labels) - 1, 1)
            out = np.where(out > 0, out, rest)
            out /= np.maximum(out.sum(axis=1, keepdims=True), 1e-12)
        return np.clip(out, 0, 1).astype(np.float32)

    def replies(self, items: Sequence[str]) -> list[Reply]:
        """Return what each text got: labels in the answer's order, and what could not be read as one."""
        return self.asking.replies(items)

    def unanswered(self, items: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return (n,) bool, the texts whose answers could not be read as labels."""
        return np.array([not reply.answered for reply in self.asking.replies(items)], dtype=bool)

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n, 256) float32 row-normalised counts of hashed words; the server is not asked."""
        return hashed_words(items)

    def reasons(self, item: str, label: str) -> Explanation:
        """Mark the passages that the model copies when asked what supports the label; only what stands in the text."""
        words = dict(zip(self.labels, self.asking.words.words, strict=True))[label]
        if not item.strip():
            return Explanation(label, "passages that the model quotes")
        try:
            places = self.asking.quoted(item, words)
        except (MedbenchError, Refused):  # the answer itself stands; only its passages are missing
            return Explanation(label, "passages that the model quotes: the server gave none")
        return Explanation(label, "passages that the model quotes", tuple(Span(*place, 1.0) for place in places))

    def methods(self) -> tuple[str, ...]:
        """Return the quoted passages; every other method asks the server some fifty times."""
        return ("quotes",)

    def cut(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n,) float32, the share of each text's words that are not sent, 0-1."""
        return np.array([self.asking.question.cut(item) for item in items], dtype=np.float32)

    def notes(self) -> tuple[str, ...]:
        """Return who was asked, what the scores are, and what the answers were like."""
        asking, spent = self.asking, self.asking.spent
        place, manner = asking.place, asking.manner
        told = [
            f"Asked: {place.model} at {place.address}, which may change; the figures hold for the day of the run.",
            f"Its scores are {_SCORED[manner.scoring]}, calibrated on the validation split.",
        ]
        if not is_loopback(address_host(place)):
            told.append(
                f"Texts leave this computer: each text that it is asked about is sent to {address_host(place)}."
            )
        if asking.question.examples:
            told.append(f"The model's folder holds {len(asking.question.examples)} training texts, shown as examples.")
        if spent.texts:
            told.append(f"It took {spent.sentence()}")
            told.append(_answers(spent, asking.words.coded))
        return tuple(told)

    def save(self, folder: Path) -> None:
        """Write endpoint.json; no key is in it."""
        asking = self.asking
        facts = {"labels": list(self.labels), "answer": self.answer, "place": asdict(asking.place)}
        facts |= {"question": asdict(asking.question), "manner": asdict(asking.manner)}
        write_json(folder / _CARD, facts)


def _answers(spent: Spent, coded: bool) -> str:
    found = (
        f"Of {spent.texts:,} texts, {spent.unanswered:,} got no answer that can be read and count as without a label"
    )
    if coded:
        found += f"; left out were {spent.unknown:,} words in the place of a code that are in no table"
        found += f" and {spent.outside:,} codes that the dataset does not have"
    return f"{found}."


def asking_for(options: EndpointOptions, labels: tuple[str, ...], answer: AnswerKind) -> Asking:
    """Return who is asked how, by the options; nothing is asked yet."""
    place = Place(
        options.address.strip(),
        options.model,
        options.key_variable,
        options.allow_remote,
        options.timeout,
        options.retries,
    )
    several = options.samples > 1
    temperature = options.temperature if options.temperature is not None else _DRAWN if several else 0.0
    first: Literal["shares", "rank"] = "shares" if several else "rank"
    manner = Manner(
        first if options.scoring == "auto" else options.scoring,
        options.samples,
        temperature,
        options.answer_tokens,
        options.hold,
        options.at_once,
    )
    question = Question(options.instruction, options.listed, options.max_words)
    return Asking(place, question, manner, Vocabulary(labels, answer))


class Endpoint(Family[EndpointOptions]):
    """Served language models."""

    name = "endpoint"
    title = "Served language model"
    summary = "Asks a language model that a server runs, here or elsewhere: no training, some examples if you like."
    items: ClassVar[frozenset[ItemKind]] = frozenset({"text"})
    answers: ClassVar[frozenset[AnswerKind]] = frozenset({"one", "many"})
    Options = EndpointOptions

    def fit(self, train: Examples, validation: Examples, options: EndpointOptions, fitting: Fitting) -> EndpointModel:
        """Choose the examples to show, see whether the server answers in labels, and how answers can be scored.

        Raises:
            MedbenchError: LiteLLM is absent or compromised; the server may not be asked, is silent, or answers prose.
            Stopped: When the user stopped.
        """
        asking = asking_for(options, train.labels, train.answer)
        asking.stop = fitting.say.stop
        order = fitting.rng.permutation(len(train)).tolist()
        shown = _telling(train, order, options.examples)
        examples = tuple(
            (asking.question.sent(train.items[row]), tuple(train.labels[at] for at in np.flatnonzero(train.truth[row])))
            for row in shown
        )
        asking.question = replace(asking.question, examples=examples)
        fitting.say("stage", name="fit", sentence=f"Asking {options.model} at {options.address} for the first time.")
        hidden = [train.items[row] for row in order if row not in shown]
        scoring = asking.check(hidden or list(train.items), options.scoring)
        asking.manner = replace(asking.manner, scoring=scoring)
        asking.tell = lambda done, total, sentence: fitting.say("progress", step=done, steps=total, sentence=sentence)
        asking.keep_in(fitting.checkpoints)
        return EndpointModel(train.labels, train.answer, asking)

    def load(self, folder: Path, device: Device) -> EndpointModel:
        """Load the question; the server is asked at the first text. Raises MedbenchError when the file is damaged."""
        try:
            facts = read_json(folder / _CARD)
            examples = tuple((str(text), tuple(labels)) for text, labels in facts["question"].pop("examples"))
            words = Vocabulary(facts["labels"], facts["answer"])
            question = Question(**facts["question"], examples=examples)
            asking = Asking(Place(**facts["place"]), question, Manner(**facts["manner"]), words)
            return EndpointModel(words.labels, words.answer, asking)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MedbenchError(
                "the file of a served model", f"{type(error).__name__}: {error}", f"Train again; damaged: {folder}."
            ) from error

    def estimate(self, train: Examples, options: EndpointOptions, device: Device) -> Estimate:
        """Say what stands against asking, and how many questions it will be; nothing is asked yet."""
        asking = asking_for(options, train.labels, train.answer)
        problems = list(check_place(asking.place))
        if options.scoring == "shares" and options.samples == 1:
            problems.append("Shares need several answers: set samples to 3 or more, or choose another scoring.")
        count = int(len(train) * _HELD_OUT * options.samples) + 2
        notes = [f"About {count:,} questions will be asked; how long that takes is up to the server."]
        if not problems and not is_loopback(address_host(asking.place)):
            notes.append(f"The texts will be sent to {address_host(asking.place)}: they leave this computer.")
            if options.address.lower().startswith("http:"):
                notes.append("They travel unencrypted: the address begins with http, not https.")
        cut = float(np.mean([asking.question.cut(item) > 0 for item in train.items])) if len(train) else 0.0
        return Estimate(disk=int(1e6), cut=cut, problems=tuple(problems), notes=tuple(notes))


def _telling(train: Examples, order: Sequence[int], count: int) -> list[int]:
    """Return rows to show as examples: in turn the one that adds most labels not shown yet, the shortest of equals."""
    shown: list[int] = []
    covered = np.zeros(len(train.labels), dtype=bool)
    left = [row for row in order if train.items[row].strip()]
    while left and len(shown) < count:
        gains = (train.truth[left] & ~covered).sum(axis=1)
        best = max(range(len(left)), key=lambda at: (gains[at], -len(train.items[left[at]])))
        row = left.pop(best)
        covered |= train.truth[row]
        shown.append(row)
        if covered[train.truth.any(axis=0)].all():
            covered[:] = False  # all labels are shown: begin anew
    return shown


FAMILY = Endpoint()


def untrained(options: EndpointOptions, labels: tuple[str, ...], answer: AnswerKind) -> EndpointModel:
    """Return a model that asks without any training, check or calibration; the first text is the first question."""
    return EndpointModel(labels, answer, asking_for(options, labels, answer))
