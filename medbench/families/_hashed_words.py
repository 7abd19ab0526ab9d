"""Texts as vectors without learning anything: counts of hashed words, for neighbours and "unlike the training data"."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_DIMENSIONS = 256
_WORD = re.compile(r"\w+")


def hashed_words(items: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return (n, 256) float32 row-normalised counts of hashed words (log(1 + count)); 0 for a text without words."""
    out = np.zeros((len(items), _DIMENSIONS), dtype=np.float32)
    for row, item in enumerate(items):
        for word, count in Counter(_WORD.findall(item.lower())).items():
            place = zlib.crc32(word.encode("utf-8", "surrogatepass"))
            out[row, place % _DIMENSIONS] += (1 if place & 0x10000 else -1) * np.log1p(count)
    norm = np.linalg.norm(out, axis=1, keepdims=True)
    out /= np.maximum(norm, 1e-12)
    return out
