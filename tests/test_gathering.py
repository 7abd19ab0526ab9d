"""Concurrent requests share batches, keep their own answers, and one that fails harms nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medbench import gathering, trust
from medbench.families import Model
from medbench.predicting import Loaded
from medbench.records import Explanation, Item, Scores

LABELS = ("short", "long")


class Slow(Model):
    """Says whether a text has over five letters, slowly; counts how often it is asked; chokes on "bad"."""

    labels, answer = LABELS, "many"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def scores(self, items: Sequence[str]) -> Scores:
        if "bad" in items:
            raise ValueError("bad")
        self.asked.append(len(items))
        time.sleep(0.05)
        long = np.array([len(item) > 5 for item in items], dtype=np.float32)
        return np.stack([1 - long, long], axis=1) * 0.98 + 0.01

    def embed(self, items: Sequence[str]) -> np.ndarray:
        return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(items), 1))

    def reasons(self, item: str, label: str) -> Explanation:
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        raise NotImplementedError


@pytest.fixture
def loaded() -> Loaded:
    model = Slow()
    texts = ["a", "bb", "longer text", "longest text"] * 10
    truth = np.array([[len(text) <= 5, len(text) > 5] for text in texts])
    fitted = trust.fit_trust(model.scores(texts), truth, "many", None, None, np.random.default_rng(0))
    model.asked.clear()
    return Loaded("slow", Path("/nowhere"), {"label_names": {}}, model, fitted)


def test_callers_that_wait_share_a_batch_and_get_their_own_answers(loaded: Loaded) -> None:
    texts = ["a", "a longer one"] * 8
    start = threading.Barrier(len(texts))

    def ask(at: int) -> tuple[str, ...]:
        start.wait()
        answers = gathering.predict(loaded, [Item(str(at), "", texts[at])])
        assert [answer.id for answer in answers] == [str(at)]
        return answers[0].chosen

    with ThreadPoolExecutor(len(texts)) as pool:
        told = list(pool.map(ask, range(len(texts))))
    assert told == [("short",), ("long",)] * 8
    asked = loaded.model.asked  # type: ignore[attr-defined]
    assert sum(asked) == len(texts)
    assert len(asked) < len(texts) / 2


def test_one_bad_item_harms_nobody_else(loaded: Loaded) -> None:
    start = threading.Barrier(4)

    def ask(text: str) -> str:
        start.wait()
        try:
            return gathering.predict(loaded, [Item("x", "", text)])[0].chosen[0]
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, ["a", "bad", "a longer one", "b"])) == ["short", "bad", "long", "short"]
