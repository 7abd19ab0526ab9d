"""Texts become token batches: tokenised once, sorted by length, padded to their longest; and a memory of vectors."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import word_spans
from medbench.errors import MedbenchError

Ids = list[int]
Chunks = list[Ids]
"""The token ids of one text, window by window."""
_GPU_TIMES = 32
Vectors = npt.NDArray[np.float32]


class TextReader:
    """Reads texts as token ids for one base model.

    Attributes:
        max_tokens: Most tokens of a text that are read, special ones included.
        pad_id: Token id that fills a batch.
    """

    def __init__(self, definition: str, max_tokens: int, pad_id: int) -> None:
        """Take a tokenizer as the JSON text of a `tokenizer.json`."""
        from tokenizers import Tokenizer

        self.max_tokens, self.pad_id = max_tokens, pad_id
        self._whole = Tokenizer.from_str(definition)
        self._whole.no_padding()
        self._whole.no_truncation()
        self._cutting = Tokenizer.from_str(self._whole.to_str())
        self._cutting.enable_truncation(max_tokens)

    @property
    def definition(self) -> str:
        """The tokenizer as the JSON text of a `tokenizer.json`."""
        text: str = self._whole.to_str(pretty=False)
        return text

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Return the token ids of each text, cut at `max_tokens`; never empty."""
        return [encoding.ids or [self.pad_id] for encoding in self._cutting.encode_batch(list(texts))]

    def read_until(self, texts: Sequence[str], windows: int = 1) -> list[int]:
        """Return for each text the character up to which it is read (its length when all of it is)."""
        kept = self._cutting.encode_batch(list(texts))
        return [
            len(text) if len(encoding.overflowing) < windows else _end([encoding, *encoding.overflowing][windows - 1])
            for text, encoding in zip(texts, kept, strict=True)
        ]

    def windows(self, text: str, most: int) -> list[Ids]:
        """Return the token ids of a text in up to `most` windows of `max_tokens` without overlap."""
        return self.chunks([text], most)[0]

    def chunks(self, texts: Sequence[str], most: int) -> list[Chunks]:
        """Return the token ids of each text in up to `most` windows of `max_tokens` without overlap; never empty."""
        return [
            [part.ids or [self.pad_id] for part in [encoding, *encoding.overflowing][:most]]
            for encoding in self._cutting.encode_batch(list(texts))
        ]

    def places(self, text: str, most: int) -> list[tuple[int, int]]:
        """Return [start, end) in the text of the tokens of `chunks([text], most)`, in a row; special ones: empty."""
        encoding = self._cutting.encode(text)
        parts = [encoding, *encoding.overflowing][:most]
        return [place for part in parts for place in (part.offsets or [(0, 0)])]

    def cut(self, texts: Sequence[str], windows: int = 1) -> Vectors:
        """Return (n,) float32, the share of each text's words that `windows` windows do not hold, 0-1."""
        shares = np.zeros(len(texts), dtype=np.float32)
        for row, text in enumerate(texts):
            encoding = self._cutting.encode(text)
            if len(encoding.overflowing) < windows:
                continue
            end = _end([encoding, *encoding.overflowing][windows - 1])
            words = word_spans(text)
            shares[row] = sum(start >= end for start, _ in words) / max(len(words), 1)
        return shares


def _end(encoding: Any) -> int:
    """Return the character at which a window ends."""
    return max((end for _, end in encoding.offsets), default=0)


def load_reader(folder: Path, max_tokens: int, pad_id: int) -> TextReader:
    """Return the reader of a base model's folder: its `tokenizer.json`, else whatever transformers makes of it.

    Raises:
        MedbenchError: When the folder has no tokenizer that can be read.
    """
    if (folder / "tokenizer.json").exists():
        return TextReader((folder / "tokenizer.json").read_text(encoding="utf-8"), max_tokens, pad_id)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=True)
        definition: str = tokenizer.backend_tokenizer.to_str()
    except (OSError, ValueError, AttributeError) as error:
        raise MedbenchError(
            "a tokenizer (tokenizer.json or vocab.txt) beside the base model",
            f"none that can be read in {folder}",
            "Copy the model's tokenizer files into that folder.",
        ) from error
    return TextReader(definition, max_tokens, pad_id)


def sorted_batches(lengths: Sequence[int], tokens: int, device: str = "cpu") -> Iterator[list[int]]:
    """Yield positions in batches, longest first, each of at most `tokens` padded tokens (32 times that on a GPU).

    Equal lengths stand together, so that little is padded, and the first batch is the one that needs most memory.
    """
    tokens *= 1 if device == "cpu" else _GPU_TIMES
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    at = 0
    while at < len(order):
        rows = max(tokens // max(lengths[order[at]], 1), 1)
        yield order[at : at + rows]
        at += rows


def padded(ids: Sequence[Ids], pad_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return token ids and attention mask, each (n, longest) int64."""
    longest = max(len(row) for row in ids)
    matrix = np.full((len(ids), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.int64)
    for at, row in enumerate(ids):
        matrix[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return matrix, mask


def padded_chunks(texts: Sequence[Chunks], pad_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return token ids and attention mask, each (n, chunks, tokens) int64; absent chunks are all padding."""
    shape = (len(texts), max(len(chunks) for chunks in texts), max(len(row) for chunks in texts for row in chunks))
    matrix = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for at, chunks in enumerate(texts):
        for part, row in enumerate(chunks):
            matrix[at, part, : len(row)] = row
            mask[at, part, : len(row)] = 1
    return matrix, mask


class VectorMemory:
    """Remembers the vectors of the texts seen last, so that scoring, embedding and cross-fitting read a text once."""

    def __init__(self, limit: int = 256 * 2**20) -> None:
        """Keep at most `limit` bytes of vectors."""
        self.limit = limit
        self._kept: OrderedDict[bytes, Vectors] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(
        self, texts: Sequence[str], width: int, encode: Callable[[Sequence[str]], Vectors], salt: str = ""
    ) -> Vectors:
        """Return (n, width) float32 vectors, calling `encode` only for texts not remembered; equal texts share one."""
        keys = [
            hashlib.blake2b(f"{salt}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
            for text in texts
        ]
        with self._lock:
            out = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in out}
        if missing:
            fresh = encode(list(missing.values()))
            out.update(zip(missing, fresh, strict=True))
            self._keep(missing, fresh)
        return np.stack([out[key] for key in keys]) if keys else np.zeros((0, width), dtype=np.float32)

    def _keep(self, keys: dict[bytes, str], fresh: Vectors) -> None:
        with self._lock:
            for key, vector in zip(keys, fresh, strict=True):
                if key not in self._kept:
                    self._kept[key] = vector.copy()
                    self._bytes += vector.nbytes
            while self._bytes > self.limit and self._kept:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
