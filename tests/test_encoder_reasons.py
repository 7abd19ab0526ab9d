"""Looks inside an encoder: gradients add up to the answer, attention to one, and a planted word stands out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import save_tiny

from medbench.events import Say
from medbench.families import Fitting
from medbench.families._encoder_reasons import attention_rollout, integrated_gradients
from medbench.families.encoder import FAMILY, EncoderModel
from medbench.records import Device, Examples

FILLER = ["study", "group", "the", "of", "was", "after"]
TEXT = "the study group was of fever after the study. the group was the study of the group."
LEARN: dict[str, Any] = {"learning_rate": 0.02, "head_learning_rate": 0.05, "max_tokens": 12, "chunks": 3, "epochs": 3}


def planted(n: int, seed: int) -> Examples:
    """Texts with fever are "a", those with cough "b"."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, 2), dtype=bool)
    truth[np.arange(n), rng.integers(0, 2, n)] = True
    texts = []
    for is_a in truth[:, 0]:
        words = [*rng.choice(FILLER, 15), "fever" if is_a else "cough"]
        rng.shuffle(words)
        texts.append(" ".join(words))
    return Examples(texts, truth, ("a", "b"), "one", tuple(map(str, range(n))))


def fitted(folder: Path, architecture: str = "bert", **options: Any) -> EncoderModel:
    base = save_tiny(folder / "base", architecture)
    chosen = FAMILY.parse({**LEARN, "base": str(base), "tuning": "full", "warmup": 0, **options})
    return FAMILY.fit(planted(64, 0), planted(16, 1), chosen, Fitting(np.random.default_rng(0), Device(), Say()))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EncoderModel:
    return fitted(tmp_path_factory.mktemp("encoder"))


def asked(model: EncoderModel, text: str) -> tuple[object, list[list[int]], int, str, int]:
    return model._network, model._reader.chunks([text], 3)[0], model._reader.pad_id, "cpu", 0


@pytest.mark.parametrize("method", ["occlusion", "integrated-gradients"])
def test_the_planted_word_stands_out(model: EncoderModel, method: str) -> None:
    assert model.scores([TEXT])[0, 0] > 0.7
    spans = model.reasons(TEXT, "a").spans if method == "occlusion" else model.marks(TEXT, "a", method)
    best = max(spans, key=lambda span: span.weight)
    assert TEXT[best.start : best.end] == "fever"
    without = TEXT[: best.start] + TEXT[best.end :]
    assert model.scores([TEXT])[0, 0] - model.scores([without])[0, 0] > 0.1


def test_gradients_add_up_to_the_difference_from_an_empty_text(model: EncoderModel) -> None:
    network, chunks, pad, device, column = asked(model, TEXT)
    assert len(chunks) > 1  # a long text is read in parts
    shares = integrated_gradients(network, chunks, pad, device, column, "one", 512, steps=64)
    assert len(shares) == sum(map(len, chunks))
    empty = [[row[0], *[pad] * (len(row) - 2), row[-1]] for row in chunks]
    odds = [_log_odds(model, each) for each in (chunks, empty)]
    assert float(shares.sum()) == pytest.approx(odds[0] - odds[1], abs=0.05 * abs(odds[0] - odds[1]) + 1e-3)


def _log_odds(model: EncoderModel, chunks: list[list[int]]) -> float:
    import torch

    from medbench.families._text_batches import padded_chunks

    # Padding tokens stand in the place of words here, so they are seen: the mask is that of the lengths.
    ids, mask = (torch.from_numpy(part) for part in padded_chunks([chunks], model._reader.pad_id))
    with torch.no_grad():
        logits = model._network(ids, mask)["logits"][0]
    return float(logits[0] - logits[1])


def test_rolled_out_attention_is_what_is_above_the_mean(model: EncoderModel) -> None:
    network, chunks, pad, device, column = asked(model, TEXT)
    before = model.scores([TEXT + " fever"])
    shares = attention_rollout(network, chunks, pad, device, column)
    n = sum(map(len, chunks))
    assert len(shares) == n and shares.min() >= 0 and shares.max() < 1
    above = shares[shares > 0]
    assert 0 < len(above) < n
    # Weights, untouched by it; and the same answers afterwards, by the fused attention.
    assert model._network.backbone.config._attn_implementation == "sdpa"
    assert model.scores([TEXT + " fever"]) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("options", [{"head": "label_attention"}, {"pooling": "cls", "architecture": "distilbert"}])
def test_other_heads_and_architectures_are_read_too(tmp_path: Path, options: dict[str, str]) -> None:
    model = fitted(tmp_path, **{"epochs": 1, **options})
    for method in model.methods()[1:]:
        spans = model.marks(TEXT, "a", method)
        assert spans and all(TEXT[span.start : span.end].isalpha() for span in spans)
        assert model.marks("", "a", method) == ()
