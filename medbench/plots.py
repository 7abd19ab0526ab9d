"""The numbers behind the pictures of a dataset, as plain frames. No drawing library is known here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ALL = "all rows"
UNKNOWN, NO_LABEL = "unknown", "no label"
_WORD = re.compile(r"[^\W\d_][\w-]{2,}")
_MIN_COUNT = 5


def label_distribution(classes: Mapping[str, int], names: Mapping[str, str]) -> pd.DataFrame:
    """Return label, name and rows, most frequent first; `classes` is the profile's label -> rows."""
    import pandas as pd

    ordered = sorted(classes.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [(label, names.get(label, label), count) for label, count in ordered]
    return pd.DataFrame(rows, columns=["label", "name", "rows"])


def pictures_by(frame: pd.DataFrame, column: str, names: Mapping[str, str], *, banded: bool = False) -> pd.DataFrame:
    """Return how many rows of each label have each value of a column.

    Args:
        frame: The rows.
        column: The column; "" counts the labels themselves.
        names: Label -> what the user reads.
        banded: Put numbers (ages in years) into bands of ten.

    Returns:
        value, label, name, pictures; bands in order, other values most frequent first, "unknown" last.
    """
    import pandas as pd

    labels = [held[0] if held else "" for held in frame["labels"]]
    shown = [names.get(label, label) or NO_LABEL for label in labels]
    cells = shown if not column else [_band(cell) if banded else cell or UNKNOWN for cell in frame[column]]
    total, counts = Counter(cells), Counter(zip(cells, labels, shown, strict=True))

    def place(value: str) -> tuple[bool, int, str]:
        return value == UNKNOWN, int(value.split("–")[0]) if banded and value != UNKNOWN else -total[value], value

    rows = [(*key, count) for key, count in sorted(counts.items(), key=lambda pair: (place(pair[0][0]), pair[0][2]))]
    return pd.DataFrame(rows, columns=["value", "label", "name", "pictures"])


def _band(cell: str) -> str:
    """Return "40–49" for "45"; "unknown" for anything that is no number."""
    try:
        start = int(float(cell)) // 10 * 10
    except ValueError:
        return UNKNOWN
    return f"{start}–{start + 9}"


def text_lengths(frame: pd.DataFrame, labels: Sequence[str] = (), *, bins: int = 40) -> pd.DataFrame:
    """Return histograms of length in words (title and text), over all rows and for each of `labels`.

    Returns:
        label (`ALL` or a label), start, end (words, [start, end)), rows, share (of the label's rows). The last bin also
        holds everything above the 99th percentile, so that one long text does not flatten the picture.
    """
    import pandas as pd

    words = np.array(
        [len(title.split()) + len(text.split()) for title, text in zip(frame["title"], frame["text"], strict=True)]
    )
    top = max(int(np.percentile(words, 99)) if len(words) else 1, bins)
    edges = np.unique(np.linspace(0, top, bins + 1).astype(int))
    clipped = np.minimum(words, top - 1)
    parts: list[tuple[str, np.ndarray[Any, Any]]] = [(ALL, clipped)]
    parts += [(label, clipped[[label in held for held in frame["labels"]]]) for label in labels]
    rows = []
    for label, lengths in parts:
        counts, _ = np.histogram(lengths, edges)
        total = max(int(counts.sum()), 1)
        for start, end, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
            rows.append((label, start, end, count, count / total))
    return pd.DataFrame(rows, columns=["label", "start", "end", "rows", "share"])


@dataclass(frozen=True)
class Network:
    """Which labels stand together.

    Attributes:
        nodes: label, name, rows, x, y (positions in [-1, 1]).
        edges: source, target, rows (both labels), share (of the rarer label's rows), x0, y0, x1, y1.
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame


def cooccurrence(
    frame: pd.DataFrame, names: Mapping[str, str], rng: np.random.Generator, *, most: int = 40, edges: int = 120
) -> Network:
    """Return the network of labels that stand on the same rows.

    Args:
        frame: The rows.
        names: Label -> what the user reads.
        rng: Start of the layout (Fruchterman and Reingold 1991, by networkx).
        most: How many of the most frequent labels to show.
        edges: How many of the most frequent pairs to show.
    """
    import networkx as nx
    import pandas as pd

    single = Counter(label for held in frame["labels"] for label in held)
    kept = {label for label, _ in sorted(single.items(), key=lambda pair: (-pair[1], pair[0]))[:most]}
    pairs = Counter(
        pair for held in frame["labels"] if len(held) > 1 for pair in combinations(sorted(kept & set(held)), 2)
    )
    shown = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:edges]
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(sorted(kept))
    graph.add_weighted_edges_from(
        (one, other, count / min(single[one], single[other])) for (one, other), count in shown
    )
    place = nx.spring_layout(graph, seed=int(rng.integers(2**31)), k=2 / max(len(kept), 1) ** 0.5) if kept else {}
    nodes = [
        (label, names.get(label, label), single[label], float(place[label][0]), float(place[label][1]))
        for label in sorted(kept, key=lambda label: (-single[label], label))
    ]
    lines = [
        (one, other, count, count / min(single[one], single[other]), *map(float, place[one]), *map(float, place[other]))
        for (one, other), count in shown
    ]
    return Network(
        pd.DataFrame(nodes, columns=["label", "name", "rows", "x", "y"]),
        pd.DataFrame(lines, columns=["source", "target", "rows", "share", "x0", "y0", "x1", "y1"]),
    )


def distinctive_words(
    frame: pd.DataFrame, labels: Sequence[str], *, most: int = 15, max_rows: int = 20_000, prior: float = 1_000.0
) -> pd.DataFrame:
    """Return the words that set each label's texts apart from all others.

    Log-odds ratio with an informative Dirichlet prior, as z-scores (Monroe, Colaresi and Quinn 2008, eq. 15, 16, 22):
    the prior is the corpus' own word frequencies with the weight of `prior` words.

    Args:
        frame: The rows; at most `max_rows` of them are read, evenly spaced.
        labels: The labels to describe.
        most: Words per label.
        max_rows: Cap on rows read.
        prior: Weight of the prior, in words.

    Returns:
        label, word, z (how far apart, in standard errors), count (occurrences under the label); highest z first.
    """
    import pandas as pd

    step = max(1, -(-len(frame) // max_rows))
    total: Counter[str] = Counter()
    under: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for title, text, held in zip(frame["title"][::step], frame["text"][::step], frame["labels"][::step], strict=True):
        words = _WORD.findall(f"{title}\n{text}".lower())
        total.update(words)
        for label in held:
            if label in under:
                under[label].update(words)
    vocabulary = sorted(word for word, count in total.items() if count >= _MIN_COUNT)
    if not vocabulary:
        return pd.DataFrame([], columns=["label", "word", "z", "count"])
    everywhere = np.array([total[word] for word in vocabulary], dtype=float)
    rows = []
    for label in labels:
        here = np.array([under[label][word] for word in vocabulary], dtype=float)
        z = log_odds(here, everywhere - here, prior)
        best = [int(index) for index in np.argsort(-z, kind="stable")[:most] if z[index] > 0]
        rows += [(label, vocabulary[index], float(z[index]), int(here[index])) for index in best]
    return pd.DataFrame(rows, columns=["label", "word", "z", "count"])


def log_odds(
    here: np.ndarray[Any, np.dtype[np.float64]], elsewhere: np.ndarray[Any, np.dtype[np.float64]], prior: float
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (n_words,) z-scores of the log-odds ratio of word counts here against elsewhere.

    Args:
        here: (n_words,) counts under the label.
        elsewhere: (n_words,) counts outside it.
        prior: Total weight of the Dirichlet prior, spread like the pooled counts.
    """
    alpha = prior * (here + elsewhere) / (here + elsewhere).sum()
    first, second = here + alpha, elsewhere + alpha
    # With an empty side (every row has the label) the odds say nothing; the prior keeps them finite.
    delta = np.log(first / (first.sum() - first + 1e-9)) - np.log(second / (second.sum() - second + 1e-9))
    return np.asarray(delta / np.sqrt(1 / first + 1 / second))
