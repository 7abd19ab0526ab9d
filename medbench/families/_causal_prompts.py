"""Texts become prompts, labels become answers: what a causal language model reads and writes, in tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import word_spans
from medbench.errors import MedbenchError
from medbench.families._causal_trie import Ids, Trie
from medbench.records import AnswerKind

ROLE = "You label medical texts. Answer with labels only."
NAMED_LABELS, NAMED_CHARACTERS = 12, 300
_MARK = "\x02the text\x02"


@dataclass(frozen=True)
class Wording:
    """How prompts and answers are written; saved with the model.

    Attributes:
        before: What stands before the text, special tokens of the chat format included.
        after: What stands after it; the answer follows.
        words: What is written for each label.
        nothing: What is written when no label fits ("many" only).
        end_id: Token that ends an answer.
        pad_id: Token that fills a batch.
        start_ids: Tokens before everything else.
        max_tokens: Most tokens of a text that are read.
        answer: "one" or "many".
    """

    before: str
    after: str
    words: tuple[str, ...]
    nothing: str
    end_id: int
    pad_id: int
    start_ids: tuple[int, ...]
    max_tokens: int
    answer: AnswerKind

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Wording:
        """Return what `as_json` gave."""
        lists = {key: tuple(value[key]) for key in ("words", "start_ids")}
        return cls(**{**value, **lists})


def short_words(labels: Sequence[str]) -> tuple[str, ...]:
    """Return what is written for each label: without its prefix up to a colon where the rest still tells them apart.

    "icd10cm:E11.9" is written "E11.9". A comma would end a label, so it becomes a semicolon.
    """
    plain = [label.replace(",", ";").strip() for label in labels]
    short = [label.rpartition(":")[2].strip() for label in plain]
    return tuple(short if len(set(short)) == len(set(labels)) and all(short) else plain)


def word(folder: Path, labels: Sequence[str], answer: AnswerKind, instruction: str, max_tokens: int) -> Wording:
    """Return the wording for a base's folder: its own chat format where it has one.

    Raises:
        MedbenchError: When the folder's tokenizer cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=True)
        end = tokenizer.eos_token_id
    except (OSError, ValueError, AttributeError) as error:
        raise MedbenchError(
            "a tokenizer (tokenizer.json) beside the base model", f"none in {folder}", "Copy it into that folder."
        ) from error
    if end is None:
        raise MedbenchError("a base with a token that ends an answer", f"none in {folder}", "Choose another base.")
    words = short_words(labels)
    listed = ", ".join(words)
    asked = f"{instruction}\n"
    if len(words) <= NAMED_LABELS and len(listed) <= NAMED_CHARACTERS:
        asked += f"Possible labels: {listed}.\n"
    before, after, start = _frame(tokenizer, asked)
    return Wording(
        before,
        after,
        words,
        next(each for each in ("none", "no label", "nothing of these") if each not in words),
        int(end),
        int(end if tokenizer.pad_token_id is None else tokenizer.pad_token_id),
        start,
        max_tokens,
        answer,
    )


def _frame(tokenizer: Any, asked: str) -> tuple[str, str, tuple[int, ...]]:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        start = [token for token in tokenizer("").input_ids if token == tokenizer.bos_token_id]
        return asked, "\nAnswer:", tuple(start[:1])
    turn = {"role": "user", "content": asked + _MARK}
    settings = {"tokenize": False, "add_generation_prompt": True}
    try:
        whole = tokenizer.apply_chat_template([{"role": "system", "content": ROLE}, turn], **settings)
    except TemplateError:  # some formats know no system turn
        whole = tokenizer.apply_chat_template([turn], **settings)
    before, _, after = str(whole).partition(_MARK)
    if "<think>" in after and "</think>" not in after:
        after += "\n</think>\n\n"  # models that think aloud begin with the answer
    return before, after, ()


class Prompts:
    """Writes prompts and answers in tokens, for one base and one set of labels.

    Attributes:
        wording: How they are written.
        paths: Tokens of each label, then, for "many", of "none of them".
        trie: The labels, and "none of them" as the last.
        separator: Tokens between two labels.
    """

    def __init__(self, definition: str, wording: Wording) -> None:
        """Take a tokenizer as the JSON text of a `tokenizer.json`."""
        from tokenizers import Tokenizer

        self.wording = wording
        self._frames = _plain(Tokenizer.from_str(definition))
        # What looks like a special token in a note is only text.
        self._texts = _plain(Tokenizer.from_str(definition))
        self._texts.encode_special_tokens = True
        self._cutting = Tokenizer.from_str(self._texts.to_str())
        self._cutting.encode_special_tokens = True
        self._cutting.enable_truncation(wording.max_tokens)
        self._before = [*wording.start_ids, *self._frame_ids(wording.before)]
        self._after = self._frame_ids(wording.after)
        listed = [*wording.words, *([wording.nothing] if wording.answer == "many" else [])]
        self.paths: list[Ids] = [self._texts.encode(f" {each}", add_special_tokens=False).ids for each in listed]
        self.separator: Ids = self._texts.encode(",", add_special_tokens=False).ids
        self.trie = Trie(self.paths, listed)

    def _frame_ids(self, text: str) -> Ids:
        ids: Ids = self._frames.encode(text, add_special_tokens=False).ids
        return ids

    @property
    def terminators(self) -> Ids:
        """Tokens that may follow a whole label: the end, and for "many" what separates two."""
        more = self.separator[:1] if self.wording.answer == "many" else []
        return [self.wording.end_id, *more]

    @property
    def frame(self) -> tuple[int, int]:
        """Tokens of a prompt that stand before and after the text."""
        return len(self._before), len(self._after)

    def prompts(self, texts: Sequence[str]) -> list[Ids]:
        """Return the prompt of each text in tokens; the text is cut at `max_tokens`."""
        read = self._cutting.encode_batch(list(texts), add_special_tokens=False)
        return [[*self._before, *each.ids, *self._after] for each in read]

    def written(self, labels: Sequence[int]) -> Ids:
        """Return the answer that names these labels in this order, its end included."""
        named = list(labels) or [len(self.paths) - 1]
        ids = list(self.paths[named[0]])
        for label in named[1:]:
            ids += [*self.separator, *self.paths[label]]
        return [*ids, self.wording.end_id]

    def text_of(self, ids: Ids) -> str:
        """Return tokens as text, without special ones."""
        text: str = self._frames.decode(ids, skip_special_tokens=True)
        return text

    def read(self, text: str) -> str:
        """Return the part of a text that is read."""
        return text[: self.read_until([text])[0]]

    def read_until(self, texts: Sequence[str]) -> list[int]:
        """Return for each text the character up to which it is read (its length when all of it is)."""
        kept = self._cutting.encode_batch(list(texts), add_special_tokens=False)
        return [
            len(text) if not each.overflowing else max((end for _, end in each.offsets), default=0)
            for text, each in zip(texts, kept, strict=True)
        ]

    def cut(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return (n,) float32, the share of each text's words that is not read, 0-1."""
        shares = np.zeros(len(texts), dtype=np.float32)
        for row, (text, end) in enumerate(zip(texts, self.read_until(texts), strict=True)):
            if end < len(text):
                words = word_spans(text)
                shares[row] = sum(start >= end for start, _ in words) / max(len(words), 1)
        return shares


def _plain(tokenizer: Any) -> Any:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def tokenizer_json(folder: Path) -> str:
    """Return the JSON text of a folder's `tokenizer.json`, made from its vocabulary where there is none."""
    path = folder / "tokenizer.json"
    if path.exists():
        return path.read_text(encoding="utf-8")
    from transformers import AutoTokenizer

    definition: str = AutoTokenizer.from_pretrained(str(folder), use_fast=True).backend_tokenizer.to_str()
    return definition
