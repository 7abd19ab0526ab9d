"""Label attention over chunks: by hand, on what stands beyond the first chunk, saved and loaded, and explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import WORDS, save_tiny

from medbench.events import Say
from medbench.families import Fitting
from medbench.families import _label_attention as attending
from medbench.families._text_batches import load_reader
from medbench.families.encoder import FAMILY, EncoderModel
from medbench.records import Device, Examples

FILL = [word for word in WORDS[5:] if word not in ("tumour", "liver")]
LEARN: dict[str, Any] = {
    "learning_rate": 0.01,
    "head_learning_rate": 0.05,
    "max_tokens": 12,
    "epochs": 6,
    "warmup": 0,
    "head": "label_attention",
    "chunks": 3,
}


def planted(n: int, seed: int = 0) -> Examples:
    """Return texts of 26 words whose label shows beyond the tenth word: "tumour" means a, "liver" means b."""
    rng = np.random.default_rng(seed)
    items, truth = [], np.zeros((n, 2), dtype=bool)
    for row in range(n):
        words = [str(word) for word in rng.choice(FILL, 26)]
        words[int(rng.integers(12, 26))] = "tumour" if row % 2 else "liver"
        truth[row, 1 - row % 2] = True
        items.append(" ".join(words))
    return Examples(items, truth, ("a", "b"), "many")


def fit(
    base: Path, checkpoints: Path | None = None, resume: bool = False, say: Say | None = None, **options: Any
) -> Any:
    parsed = FAMILY.parse({**LEARN, "base": str(base), **options})
    fitting = Fitting(np.random.default_rng(0), Device(), say or Say(), checkpoints, resume)
    return FAMILY.fit(planted(64), planted(20, seed=1), parsed, fitting)


def right(model: EncoderModel) -> float:
    new = planted(60, seed=5)
    return float(((model.scores(new.items) > 0.5) == new.truth).mean())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("bases") / "bert")


@pytest.fixture(scope="module")
def model(base: Path) -> EncoderModel:
    found: EncoderModel = fit(base)
    return found


def test_the_formula_by_hand() -> None:
    import torch

    torch.manual_seed(0)
    head = attending.label_attention(8, 5, block=2)  # five labels are three blocks
    with torch.no_grad():
        head.queries.mul_(50)
        head.bias.uniform_()
    states, mask = torch.randn(2, 7, 8), torch.ones(2, 7, dtype=torch.long)
    mask[1, 4:] = 0
    found = head(states, mask)
    for row, seen in ((0, 7), (1, 4)):
        inside = states[row, :seen]
        attention = torch.softmax(head.queries @ torch.tanh(head.keys(inside)).T, dim=1)
        expected = ((attention @ inside) * head.weight).sum(1) + head.bias
        assert found[row].detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)
        # What the tokens add is what attention brings above an even look at them.
        even = inside.mean(0) @ head.weight[3] + head.bias[3]
        assert head.shares(inside, 3).sum().item() == pytest.approx((expected[3] - even).item(), abs=1e-5)


def test_what_stands_beyond_the_first_chunk_is_learnt_with_chunks_only(base: Path, model: EncoderModel) -> None:
    assert right(model) > 0.9
    assert right(fit(base, chunks=1)) < 0.7
    assert model.cut(["heart " * 30, "heart " * 40, ""]) == pytest.approx([0, 10 / 40, 0])


@pytest.mark.parametrize("tuning", ["full", "frozen"])
@pytest.mark.parametrize("head", ["label_attention", "pooled"])
def test_every_tuning_reads_chunks_and_comes_back(base: Path, tmp_path: Path, tuning: str, head: str) -> None:
    model = fit(base, tuning=tuning, head=head, epochs=1, pooling="mean" if tuning == "full" else "cls")
    model.save(tmp_path)
    assert (tmp_path / "model.safetensors").exists() == (tuning == "full")
    items = [*planted(6).items, "", "liver", "heart " * 100]
    loaded = FAMILY.load(tmp_path, Device())
    assert loaded.scores(items) == pytest.approx(model.scores(items), abs=1e-5)
    assert loaded.embed(items) == pytest.approx(model.embed(items), abs=1e-5)
    # A text's answer does not depend on the texts it is read beside.
    alone = np.concatenate([FAMILY.load(tmp_path, Device()).scores([item]) for item in items])
    assert alone == pytest.approx(model.scores(items), abs=1e-3)


def test_adapters_and_label_attention_come_back(model: EncoderModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    names = {"adapter_config.json", "adapter_model.safetensors", "encoder.json", "head.safetensors", "tokenizer.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    items = planted(6).items
    loaded = FAMILY.load(tmp_path, Device())
    assert loaded.scores(items) == pytest.approx(model.scores(items), abs=1e-5)
    assert loaded.reasons(items[1], "a").spans == pytest.approx(model.reasons(items[1], "a").spans)


def test_a_model_saved_before_there_were_heads_loads(base: Path, tmp_path: Path) -> None:
    model = fit(base, head="pooled", chunks=1, epochs=1)
    model.save(tmp_path)
    card = json.loads((tmp_path / "encoder.json").read_text(encoding="utf-8"))
    assert (card.pop("head"), card.pop("chunks")) == ("pooled", 1)
    (tmp_path / "encoder.json").write_text(json.dumps(card), encoding="utf-8")
    items = planted(6).items
    assert FAMILY.load(tmp_path, Device()).scores(items) == pytest.approx(model.scores(items), abs=1e-5)


def test_resume_goes_on_with_the_same_head_only(base: Path, tmp_path: Path) -> None:
    fit(base, tmp_path, epochs=1)
    say = Say()
    fit(base, tmp_path, resume=True, say=say, epochs=2)
    assert [event["step"] for event in say.said if event["kind"] == "metric"] == [8]
    say = Say()
    fit(base, tmp_path, resume=True, say=say, epochs=1, head="pooled")
    assert [event["step"] for event in say.said if event["kind"] == "metric"] == [4]


def test_the_planted_word_is_picked(model: EncoderModel) -> None:
    text = planted(2, seed=7).items[1]
    found = model.reasons(text, "a")
    assert found.method == "label attention"
    top = max(found.spans, key=lambda span: span.weight)
    assert text[top.start : top.end] == "tumour"
    assert found.faithfulness is not None
    assert found.faithfulness > 0
    assert model.reasons("", "a").spans == ()


def test_tokens_fall_on_their_words() -> None:
    shares = np.array([9, 1, 2, 3, 4, 9], dtype=np.float32)
    # Special, "heart", " fail" with the space before it, "ure", the full stop, special.
    places = [(0, 0), (0, 5), (5, 10), (10, 13), (13, 14), (0, 0)]
    spans = attending.word_marks("heart failure.", places, shares)
    assert [(span.start, span.end, span.weight) for span in spans] == [(0, 5, 1.0), (6, 13, 5.0)]


def test_places_go_with_the_tokens(base: Path) -> None:
    reader, text = load_reader(base, 12, 0), planted(1).items[0]
    chunks = reader.chunks([text], 3)[0]
    places = reader.places(text, 3)
    assert [len(chunk) for chunk in chunks] == [12, 12, 8]
    assert len(places) == 32
    assert [text[start:end] for start, end in places if end] == text.split()
    assert reader.read_until([text], 2) == [len(" ".join(text.split()[:20]))]


def test_estimates_know_chunks_labels_and_frozen_bases() -> None:
    notes = Examples(["heart " * 900] * 20, np.zeros((20, 3000), bool), tuple(map(str, range(3000))), "many")

    def told(**options: Any) -> Any:
        return FAMILY.estimate(notes, FAMILY.parse(options), Device())

    first, all_of_it = told(), told(chunks=8)
    assert (first.cut, all_of_it.cut) == (1.0, 0.0)
    assert all_of_it.seconds > 2 * first.seconds
    attentive = told(chunks=8, head="label_attention")
    assert attentive.seconds > all_of_it.seconds
    assert attentive.memory > all_of_it.memory
    assert told(tuning="frozen").seconds < first.seconds
    assert told(tuning="frozen").memory < first.memory


def test_out_of_memory_asks_for_fewer_chunks_before_shorter_ones() -> None:
    options = FAMILY.parse({"batch": 1, "gradient_checkpointing": True, "chunks": 8})
    assert FAMILY.remedy(MemoryError(), options) == (
        "There was not enough memory; try reading 4 chunks of each text.",
        {"chunks": 4},
    )
