"""What several members found in an item becomes one explanation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medbench.records import Explanation, Span

Heat = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def mean_spans(text: str, told: Sequence[Explanation], shares: Floats) -> tuple[Span, ...]:
    """Return the members' spans as one row of spans that do not overlap, with their mean weights.

    Members weigh in units of their own (log-odds, drops of probability), so each one's weights are first divided by
    the sum of their sizes. Where one marks a sentence and another a word, the sentence is parted at the word's ends and
    its weight goes to the parts by their length.

    Args:
        text: The original text.
        told: Each member's explanation.
        shares: (M,) that sum to 1.
    """
    edges = sorted({edge for each in told for span in each.spans for edge in (span.start, span.end)})
    weight = np.zeros(max(len(edges) - 1, 0))
    marked = np.zeros(len(weight), dtype=bool)
    place = {edge: at for at, edge in enumerate(edges)}
    for each, share in zip(told, shares, strict=True):
        total = sum(abs(span.weight) for span in each.spans) or 1.0
        for span in each.spans:
            first, last = place[span.start], place[span.end]
            lengths = np.diff(np.array(edges[first : last + 1], dtype=np.float64))
            weight[first:last] += share * span.weight / total * lengths / lengths.sum()
            marked[first:last] = True
    spans = []
    for start, end, value, used in zip(edges[:-1], edges[1:], weight.tolist(), marked.tolist(), strict=True):
        part = text[start:end]
        left, right = start + len(part) - len(part.lstrip()), end - (len(part) - len(part.rstrip()))
        if used and right > left:
            spans.append(Span(left, right, value))
    return tuple(spans)


def mean_heat(maps: Sequence[Heat], shares: Floats) -> Heat:
    """Return the mean of heat maps that may differ in size, (h, w) float32 in [0, 1] with its highest value at 1.

    Args:
        maps: (h, w) float32 in [0, 1], each stretched over the whole picture.
        shares: (M,) that sum to 1.
    """
    from PIL import Image

    height, width = max(each.shape[0] for each in maps), max(each.shape[1] for each in maps)
    wide = [
        np.asarray(Image.fromarray(each.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
        for each in maps
    ]
    mean = np.tensordot(shares, np.stack(wide).astype(np.float64), 1)
    span = float(mean.max() - mean.min())
    return ((mean - mean.min()) / span if span > 1e-12 else np.zeros_like(mean)).astype(np.float32)
