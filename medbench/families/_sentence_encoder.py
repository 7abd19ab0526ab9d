"""A frozen sentence encoder that several fits and models of one process share: loaded once, every text read once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medbench.families._bases import obtain, weights_sha256
from medbench.families._pooling import pooling_of
from medbench.families._text_batches import Ids, TextReader, VectorMemory, load_reader, padded, sorted_batches

Vectors = npt.NDArray[np.float32]
_SLICE = 128
# Weights of the parts, chosen by cross-validation on OHSUMED: titles count a little less than the whole text.
_TITLE_SHARE = 0.7
_LOADING = threading.Lock()


class Reading(NamedTuple):
    """How texts are turned into vectors.

    Attributes:
        base: The base model.
        max_tokens: Most tokens of a window, special ones included.
        windows: Most windows of a text.
        title: Whether the first line's own vector is put behind.
        layers: "last", or "several": the last, the one before, the middle one, and the largest values of the last.
        tokens_per_batch: Most tokens of a batch.
    """

    base: str
    max_tokens: int
    windows: int
    title: bool
    layers: str
    tokens_per_batch: int


class SentenceEncoder:
    """Turns texts into vectors with a frozen base.

    The first `width` values of a vector are the mean over the text's tokens of the last layer (or what the base's
    authors take instead of the mean, see `_pooling`), length 1. Every other part (see `Reading`) follows, brought to
    length 1 too, titles to a little less. A text of several windows gets the mean of its windows, by their tokens.
    """

    def __init__(self, reading: Reading, device: str) -> None:
        """Load the base. Raises MedbenchError when it cannot be had or read."""
        from medbench.families import _networks as networks

        folder = obtain(reading.base)
        self._backbone: Any = networks.load_backbone(folder).to(device).eval().requires_grad_(False)
        config = self._backbone.config.to_dict()
        limit = min(reading.max_tokens, networks.longest_input(config))
        self.reader: TextReader = load_reader(folder, limit, int(config.get("pad_token_id") or 0))
        self.width = int(self._backbone.config.hidden_size)
        self._pooling = pooling_of(folder)
        self.reading, self._device = reading, device
        self._memory = VectorMemory()
        self._lock = threading.Lock()

    @property
    def parts(self) -> int:
        """How many parts of `width` values a text's vector has, the title's not counted."""
        return 4 if self.reading.layers == "several" else 1

    @property
    def features(self) -> int:
        """Length of the vectors that `encode` gives."""
        return self.width * (self.parts + self.reading.title)

    def encode(self, texts: Sequence[str], told: Callable[[int, float], None] | None = None) -> Vectors:
        """Return (n, features) float32; equal texts are read once, remembered ones not at all.

        Args:
            texts: Any number of texts.
            told: Hears, after every 128 texts, how many are done and the texts a second; may raise to stop.
        """
        out = np.zeros((len(texts), self.features), dtype=np.float32)
        begun = time.monotonic()
        for at in range(0, len(texts), _SLICE):
            part = texts[at : at + _SLICE]
            out[at : at + len(part)] = self._memory.get(part, self.features, self.read)
            if told is not None:
                done = at + len(part)
                told(done, done / max(time.monotonic() - begun, 1e-6))
        return out

    def read(self, texts: Sequence[str]) -> Vectors:
        """Return (n, features) float32 without remembering them (for the many variants of an explanation)."""
        found = self._read(texts)
        if not self.reading.title:
            return found
        first = [text.strip().split("\n", 1)[0] for text in texts]
        place = {line: row for row, line in enumerate(dict.fromkeys(first))}
        titles = self._read(list(place))[[place[line] for line in first], : self.width]
        return np.concatenate([found, titles * np.float32(_TITLE_SHARE)], axis=1)

    def _read(self, texts: Sequence[str]) -> Vectors:
        if self.reading.windows == 1:
            windows = [[ids] for ids in self.reader.ids(texts)]
        else:
            windows = [self.reader.windows(text, self.reading.windows) for text in texts]
        flat = [ids for found in windows for ids in found]
        with self._lock:
            pooled = self._pool(flat)
        out = np.zeros((len(texts), self.parts, self.width), dtype=np.float32)
        owner = np.repeat(np.arange(len(texts)), [len(found) for found in windows])
        np.add.at(out, owner, pooled * np.array([len(ids) for ids in flat], dtype=np.float32)[:, None, None])
        out /= np.maximum(np.linalg.norm(out, axis=2, keepdims=True), 1e-12)
        return out.reshape(len(texts), -1)

    def _pool(self, flat: Sequence[Ids]) -> Vectors:
        """Return (n, parts, width) float32 of token ids, read in sorted batches."""
        import torch

        out = np.zeros((len(flat), self.parts, self.width), dtype=np.float32)
        several = self.reading.layers == "several"
        with torch.inference_mode():
            for rows in sorted_batches([len(ids) for ids in flat], self.reading.tokens_per_batch, self._device):
                ids, mask = (torch.from_numpy(part).to(self._device) for part in self._padded(flat, rows))
                found = self._backbone(input_ids=ids, attention_mask=mask, output_hidden_states=several)
                weight = mask.unsqueeze(-1).to(found.last_hidden_state.dtype)
                layers = [found.last_hidden_state]
                if several:
                    states = found.hidden_states
                    layers += [states[-2], states[len(states) // 2]]
                pooled = [(layer * weight).sum(1) / weight.sum(1) for layer in layers]
                if self._pooling is not None:
                    pooled[0] = self._pooling(layers[0], mask)
                if several:
                    pooled.append(layers[0].masked_fill(weight == 0, -1e4).amax(1))
                out[rows] = torch.stack(pooled, dim=1).float().cpu().numpy()
        return out

    def _padded(self, flat: Sequence[Ids], rows: Sequence[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return padded([flat[row] for row in rows], self.reader.pad_id)


def sentence_encoder(reading: Reading, device: str) -> SentenceEncoder:
    """Return this process's one encoder for a reading; the two used last are kept.

    Raises:
        MedbenchError: When the base cannot be had or read.
    """
    with _LOADING:
        # The weights' checksum is part of the key: a folder whose weights changed is another base.
        return _kept(reading, weights_sha256(obtain(reading.base)), device)


@lru_cache(maxsize=2)
def _kept(reading: Reading, sha256: str, device: str) -> SentenceEncoder:
    return SentenceEncoder(reading, device)
