"""Tiny encoders are really trained: they learn a planted word, stop, go on, are saved, and refuse what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from tiny_encoders import WORDS, save_tiny

from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting
from medbench.families._imbalance import make_criterion, rarity_weights
from medbench.families._narration import agreement, last_checkpoint
from medbench.families._training import LengthSampler
from medbench.families.encoder import FAMILY, EncoderModel
from medbench.records import Device, Examples

FILL = [word for word in WORDS[5:] if word not in ("tumour", "liver")]
LEARN: dict[str, Any] = {"learning_rate": 0.02, "head_learning_rate": 0.05, "max_tokens": 32, "epochs": 2, "warmup": 0}


class StopAfter(Say):
    """Says as usual, and asks to stop once an event of one kind was said."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def __call__(self, kind: str, **fields: Any) -> None:
        super().__call__(kind, **fields)
        if kind == self.kind:
            self.stop.set()


def planted(n: int, answer: str = "many", seed: int = 0) -> Examples:
    """Return texts in which "tumour" means label a and "liver" means label b."""
    rng = np.random.default_rng(seed)
    items, truth = [], np.zeros((n, 2), dtype=bool)
    for row in range(n):
        words = [str(word) for word in rng.choice(FILL, 12)]
        words[int(rng.integers(12))] = "tumour" if row % 2 else "liver"
        truth[row, 1 - row % 2] = True
        items.append(" ".join(words[:4]) + ".\n" + " ".join(words[4:]) + ".")
    return Examples(items, truth, ("a", "b"), answer)  # type: ignore[arg-type]


def fit(
    base: Path, say: Say | None = None, checkpoints: Path | None = None, resume: bool = False, **options: Any
) -> Any:
    parsed = FAMILY.parse({**LEARN, "base": str(base), **options})
    fitting = Fitting(np.random.default_rng(0), Device(), say or Say(), checkpoints, resume)
    answer = options.pop("answer", "many")
    return FAMILY.fit(planted(48, answer), planted(20, answer, seed=1), parsed, fitting)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("bases") / "bert")


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[EncoderModel, Say, Path]:
    """Return a LoRA model trained for six steps, what it said, and its checkpoints."""
    say, checkpoints = Say(), tmp_path_factory.mktemp("checkpoints")
    return fit(base, say, checkpoints), say, checkpoints


def test_six_steps_learn_a_planted_word(run: tuple[EncoderModel, Say, Path]) -> None:
    new = planted(60, seed=5)
    assert ((run[0].scores(new.items) > 0.5) == new.truth).mean() > 0.8


def test_a_run_says_and_leaves_exactly_this(run: tuple[EncoderModel, Say, Path]) -> None:
    _, say, checkpoints = run
    kinds = [event["kind"] for event in say.said]
    assert kinds[:2] == ["first_batch", "stage"]
    assert set(kinds[2:]) == {"progress", "metric", "mistakes"}
    looks = [event for event in say.said if event["kind"] == "metric"]
    assert [(look["step"], look["split"]) for look in looks] == [(3, "validation"), (6, "validation")]
    assert set(looks[0]) == {"t", "kind", "split", "step", "epoch", "loss", "micro_f1", "macro_f1", "auc"}
    last = [event for event in say.said if event["kind"] == "progress"][-1]
    assert set(last) == {"t", "kind", "step", "steps", "epoch", "loss", "rate", "eta", "memory"}
    assert (last["step"], last["steps"], last["eta"]) == (6, 6, 0.0)
    assert last["memory"] > 10**8
    assert sorted(path.name for path in checkpoints.iterdir()) == ["checkpoint-3", "checkpoint-6", "training.json"]
    inside = {"model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json"}
    assert {path.name for path in (checkpoints / "checkpoint-6").iterdir()} == inside


def test_the_first_batch_shows_what_is_cut(base: Path) -> None:
    say = Say()
    fit(base, say, max_tokens=8, epochs=0.1, head_start=False)
    row = say.said[0]["rows"][1]
    text = planted(48).items[1]
    assert row["read"] + row["cut"] == text
    assert len(row["read"].replace(".", " .").split()) == 6  # eight tokens, two of them special
    assert row["labels"] == ["a"]


def test_a_stop_keeps_the_best_so_far(base: Path, tmp_path: Path) -> None:
    say = StopAfter("metric")
    model = fit(base, say, tmp_path, epochs=50, early_stopping=0)
    assert [event["step"] for event in say.said if event["kind"] == "metric"] == [3]
    best = load_file(tmp_path / "checkpoint-3" / "model.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    assert load_file(folder / "head.safetensors")["weight"].equal(best["head.weight"])
    last = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    assert not load_file(folder / "head.safetensors")["weight"].equal(last["head.weight"])


def test_a_stop_before_the_first_step_leaves_nothing(base: Path) -> None:
    say = Say()
    say.stop.set()
    with pytest.raises(Stopped):
        fit(base, say)
    with pytest.raises(Stopped):
        fit(base, StopAfter("stage"))


def test_time_is_up(base: Path, tmp_path: Path) -> None:
    say = Say()
    fit(base, say, tmp_path, epochs=500, max_minutes=0.005)
    steps = [event["step"] for event in say.said if event["kind"] == "metric"]
    assert 1 <= steps[-1] < 100


def test_resume_goes_on_from_the_checkpoint_and_passes_over_a_torn_one(base: Path, tmp_path: Path) -> None:
    fit(base, StopAfter("metric"), tmp_path, epochs=3)
    newest = last_checkpoint(tmp_path)
    assert newest is not None
    begun = int(newest.name.split("-")[1])
    torn = tmp_path / "checkpoint-8"
    torn.mkdir()
    shutil.copy(newest / "model.safetensors", torn)
    assert last_checkpoint(tmp_path) == newest
    say = Say()
    model = fit(base, say, tmp_path, resume=True, epochs=3)
    kinds = [event["kind"] for event in say.said]
    assert "stage" not in kinds  # the head is not started again
    looks = [event["step"] for event in say.said if event["kind"] == "metric"]
    assert begun >= 3
    assert looks == [6, 9]
    assert not (torn / "model.safetensors").exists()
    assert ((model.scores(planted(60, seed=5).items) > 0.5) == planted(60, seed=5).truth).mean() > 0.75


def test_checkpoints_of_other_data_are_not_gone_on_from(base: Path, tmp_path: Path) -> None:
    fit(base, None, tmp_path, epochs=1)
    parsed = FAMILY.parse({**LEARN, "base": str(base), "epochs": 1})
    say = Say()
    other = planted(32, seed=9)
    FAMILY.fit(other, planted(8), parsed, Fitting(np.random.default_rng(0), Device(), say, tmp_path, True))
    assert [event["step"] for event in say.said if event["kind"] == "metric"] == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "training.json"]


@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "electra"])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_other_architectures_train_and_come_back(tmp_path: Path, architecture: str, tuning: str) -> None:
    base = save_tiny(tmp_path / "base", architecture)
    model = fit(base, tuning=tuning, epochs=0.4, pooling="cls" if tuning == "full" else "mean")
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    items = planted(6).items
    assert FAMILY.load(folder, Device()).scores(items) == pytest.approx(model.scores(items), abs=1e-5)


def test_saved_files_and_their_promises(run: tuple[EncoderModel, Say, Path], base: Path, tmp_path: Path) -> None:
    run[0].save(tmp_path)
    names = {"adapter_config.json", "adapter_model.safetensors", "encoder.json", "head.safetensors", "tokenizer.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    loaded = FAMILY.load(tmp_path, Device())
    items = [*planted(5).items, "", "ünknown\n…"]
    assert loaded.scores(items) == pytest.approx(run[0].scores(items), abs=1e-5)
    again = tmp_path / "again"
    again.mkdir()
    loaded.save(again)
    assert FAMILY.load(again, Device()).scores(items) == pytest.approx(run[0].scores(items), abs=1e-5)
    (tmp_path / "head.safetensors").write_bytes(b"torn")
    with pytest.raises(MedbenchError, match=r"Expected head\.safetensors of a saved encoder, found a damaged file"):
        FAMILY.load(tmp_path, Device())
    (tmp_path / "encoder.json").unlink()
    with pytest.raises(MedbenchError, match=r"Expected encoder\.json of a saved encoder, found no such file"):
        FAMILY.load(tmp_path, Device())


def test_an_adapter_refuses_another_base(tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base")
    model = fit(base, epochs=0.1)
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    save_tiny(base, seed=1)
    with pytest.raises(MedbenchError, match="with the weights this adapter was trained on, found other weights"):
        FAMILY.load(folder, Device())
    shutil.rmtree(base)
    with pytest.raises(MedbenchError, match=r"a folder with config\.json and model\.safetensors, found no folder"):
        FAMILY.load(folder, Device())


def test_minilm_adapters_are_small_and_leave_the_base_where_it_is(tmp_path: Path) -> None:
    parsed = FAMILY.parse({"max_tokens": 16, "batch": 4, "epochs": 1, "head_start": False})
    model = FAMILY.fit(planted(8), planted(4), parsed, Fitting(np.random.default_rng(0), Device(), Say()))
    model.save(tmp_path)
    names = {"adapter_config.json", "adapter_model.safetensors", "encoder.json", "head.safetensors"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3_000_000
    said = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert said["base_model_name_or_path"] == "minilm"
    items = planted(4).items
    assert FAMILY.load(tmp_path, Device()).scores(items) == pytest.approx(model.scores(items), abs=1e-4)


def test_the_planted_word_is_the_evidence(run: tuple[EncoderModel, Say, Path]) -> None:
    text = "heart of patients.\nthe renal study of tumour and bone."
    found = run[0].reasons(text, "a")
    top = max(found.spans, key=lambda span: span.weight)
    assert "tumour" in text[top.start : top.end]
    assert found.faithfulness is not None
    assert found.faithfulness > 0.0
    without = text.replace("tumour", "")
    assert run[0].scores([without])[0, 0] < run[0].scores([text])[0, 0] - 0.2
    with pytest.raises(MedbenchError, match="Expected a label of this model, found 'z'"):
        run[0].reasons(text, "z")


def test_cut_is_the_share_of_unread_words(base: Path) -> None:
    model = fit(base, max_tokens=8, epochs=0.1, head_start=False)
    texts = ["heart liver", "heart " * 12, ""]
    assert model.cut(texts) == pytest.approx([0, 6 / 12, 0])


@pytest.mark.parametrize("imbalance", ["class_weights", "focal", "sampler"])
@pytest.mark.parametrize("answer", ["one", "many"])
def test_help_for_rare_labels_trains(base: Path, imbalance: str, answer: str) -> None:
    parsed = FAMILY.parse(
        {**LEARN, "base": str(base), "imbalance": imbalance, "epochs": 1, "accumulation": 2, "batch": 8}
    )
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    model = FAMILY.fit(planted(48, answer), planted(20, answer), parsed, fitting)
    scores = model.scores(planted(20, answer, seed=3).items)
    assert np.isfinite(scores).all()
    if answer == "one":
        assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_losses_by_hand() -> None:
    import torch

    truth = np.array([[1, 0], [0, 0], [0, 1], [0, 1], [0, 1]], dtype=bool)
    logits, labels = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    plain = make_criterion(FAMILY.parse({}), truth, "many")
    assert plain(logits, labels).item() == pytest.approx(np.log(2))
    # One of five positive: the weight of a positive is sqrt(4 / 1) = 2; three of five: at least 1.
    weighted = make_criterion(FAMILY.parse({"imbalance": "class_weights"}), truth, "many")
    assert weighted(logits, labels).item() == pytest.approx(np.log(2) * (2 + 1) / 2)
    focal = make_criterion(FAMILY.parse({"imbalance": "focal", "focal_gamma": 2}), truth, "many")
    assert focal(logits, labels).item() == pytest.approx(np.log(2) * (1 / 2) ** 2)
    one = make_criterion(FAMILY.parse({"imbalance": "focal", "focal_gamma": 1}), truth, "one")
    assert one(logits, labels).item() == pytest.approx(np.log(2) * 1 / 2)


def test_rare_items_are_drawn_more_often() -> None:
    truth = np.array([[1, 0], *[[0, 1]] * 16], dtype=bool)
    weights = rarity_weights(truth)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx(4)  # 1 / sqrt(1) against 1 / sqrt(16)
    drawn = list(LengthSampler([1] * 17, 4, 0, weights))
    assert len(drawn) == 17


def test_epochs_hold_every_item_once_in_batches_of_like_lengths() -> None:
    lengths = list(np.random.default_rng(0).integers(5, 200, size=333))
    sampler = LengthSampler(lengths, 16, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(333))
    assert first != second
    assert list(LengthSampler(lengths, 16, seed=3)) == first
    spread = [np.ptp([lengths[row] for row in first[at : at + 16]]) for at in range(0, 320, 16)]
    assert np.mean(spread) < 20
    assert max(lengths) in [lengths[row] for row in first[:16]]


def test_agreement_by_hand() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 1]], dtype=bool)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7]], dtype=np.float32)
    # At .2: label b is found twice of twice, label a twice of twice.
    assert agreement(truth, scores, "many") == {"micro_f1": 1.0, "macro_f1": 1.0, "auc": 1.0}
    one = np.array([[1, 0], [0, 1], [0, 1]], dtype=bool)
    # Highest scores say a, a, b: a has 1 hit of 1 true and 2 said (2/3), b 1 hit of 2 true and 1 said (2/3).
    # Sensitivities 1 and 1/2.
    expected = {"micro_f1": 2 / 3, "macro_f1": 2 / 3, "balanced_accuracy": 0.75, "auc": 1.0}
    assert agreement(one, scores, "one") == pytest.approx(expected)


def test_estimates_grow_with_the_work_and_tell_problems(base: Path) -> None:
    short, long = planted(50), planted(500)
    small = FAMILY.estimate(short, FAMILY.parse({}), Device())
    large = FAMILY.estimate(long, FAMILY.parse({"tuning": "full"}), Device())
    assert small.problems == ()
    assert small.seconds and large.seconds and small.memory and large.memory and small.disk and large.disk
    assert small.seconds < large.seconds and small.memory < large.memory and small.disk < large.disk
    tight = FAMILY.estimate(short, FAMILY.parse({"max_tokens": 8, "base": str(base)}), Device())
    assert tight.cut == 1.0
    wrong = {"base": "/no/such/folder", "precision": "bf16"}
    told = FAMILY.estimate(short, FAMILY.parse(wrong), Device()).problems
    assert len(told) == 2
    assert told[0].startswith("Expected a folder with config.json and model.safetensors, found no folder")
    assert FAMILY.estimate(short, FAMILY.parse({}), Device("cuda:0")).problems == (
        "The device cuda:0 is not there; set device to cpu, or run where a GPU is.",
    )


def test_remedies() -> None:
    options = FAMILY.parse({"batch": 16, "accumulation": 1})
    found = FAMILY.remedy(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), options)
    assert found is not None
    assert found[1] == {"batch": 8, "accumulation": 2}
    assert FAMILY.remedy(MemoryError(), FAMILY.parse({"batch": 1})) == (
        "There was not enough memory; try computing activations twice.",
        {"gradient_checkpointing": True},
    )
    full = FAMILY.remedy(OSError(28, "No space left on device"), options)
    assert full is not None
    assert full[0].startswith("The disk is full")
    assert FAMILY.remedy(ValueError("something else"), options) is None


def test_bf16_is_refused_on_a_cpu(base: Path) -> None:
    with pytest.raises(MedbenchError, match="Expected precision fp32 on a CPU, found 'bf16'"):
        fit(base, precision="bf16")


def test_wrong_adapter_targets_are_told(base: Path) -> None:
    with pytest.raises(MedbenchError, match="Expected adapter targets that are modules of the base"):
        fit(base, lora_targets="no_such_module")


def test_gradient_checkpointing_trains(base: Path) -> None:
    assert np.isfinite(fit(base, gradient_checkpointing=True, epochs=0.4).scores(["liver"])).all()
