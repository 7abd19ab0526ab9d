"""One label a text on a Qwen2 base: a planted word is learnt, and a stopped run ends where it would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_causal import save_tiny_lm
from tiny_encoders import WORDS

from medbench.events import Say
from medbench.families import Fitting
from medbench.families._narration import last_checkpoint
from medbench.families.causal import FAMILY, CausalModel
from medbench.records import Device, Examples

CODES = ("icd10cm:C22", "icd10cm:C22.0", "icd10cm:K76.9", "icd10cm:R50")
FILL = [word for word in WORDS[5:] if word not in ("tumour", "liver")]
EPOCHS = 6


class StopAfterALook(Say):
    """Says as usual, and asks to stop once the validation rows were looked at."""

    def __call__(self, kind: str, **fields: Any) -> None:
        super().__call__(kind, **fields)
        if kind == "metric":
            self.stop.set()


def named(n: int, seed: int) -> Examples:
    """Return four words a text: "tumour" among them means C22.0, "liver" K76.9, half of the texts each."""
    rng = np.random.default_rng(seed)
    items, truth = [], np.zeros((n, len(CODES)), dtype=bool)
    for row in range(n):
        words = [str(word) for word in rng.choice(FILL, 4)]
        words[int(rng.integers(4))] = ("tumour", "liver")[row % 2]
        truth[row, 1 + row % 2] = True
        items.append(" ".join(words) + ".")
    return Examples(items, truth, CODES, "one")


def options_for(base: Path) -> Any:
    given = {"learning_rate": 0.02, "max_tokens": 24, "epochs": EPOCHS, "warmup": 0, "batch": 4, "accumulation": 1}
    return FAMILY.parse({**given, "best_by": "loss", "early_stopping": 0, "instruction": "Label", "base": str(base)})


def fit(base: Path, say: Say, checkpoints: Path, resume: bool = False) -> CausalModel:
    fitting = Fitting(np.random.default_rng(0), Device(), say, checkpoints, resume)
    model = FAMILY.fit(named(64, 0), named(20, 1), options_for(base), fitting)
    assert isinstance(model, CausalModel)
    return model


def right(model: CausalModel, texts: Examples) -> float:
    return float((model.scores(texts.items).argmax(1) == texts.truth.argmax(1)).mean())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("bases") / "qwen2", "qwen2", seed=2, chat=False)


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CausalModel, Say]:
    say = Say()
    return fit(base, say, tmp_path_factory.mktemp("checkpoints")), say


def test_tuning_learns_which_word_means_which_label(run: tuple[CausalModel, Say], base: Path) -> None:
    new = named(40, seed=5)
    before = FAMILY.untuned(new, options_for(base), Fitting(np.random.default_rng(0), Device(), Say()))
    assert right(before, new) <= 0.6 and right(run[0], new) >= 0.95
    losses = [event["loss"] for event in run[1].said if event["kind"] == "metric"]
    assert len(losses) == EPOCHS and losses[-1] < 0.7 * losses[0]
    assert run[0].adapter is not None and any("q_proj" in name for name in run[0].adapter[0])


def test_one_label_is_written_and_it_is_the_likeliest(run: tuple[CausalModel, Say]) -> None:
    new = named(20, seed=6)
    scores = run[0].scores(new.items)
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-4)
    written = [row[0][0] for row in run[0].name(new.items)]
    assert written == [CODES[at] for at in scores.argmax(1)]


def test_a_stopped_run_goes_on_and_ends_where_it_would_have(
    run: tuple[CausalModel, Say], base: Path, tmp_path: Path
) -> None:
    """The order of texts, the step sizes and the optimizer's state are taken up: nothing tells the two runs apart."""
    new = named(40, seed=7)
    stopped = fit(base, StopAfterALook(), tmp_path)
    at = last_checkpoint(tmp_path)
    assert at is not None and 16 <= int(at.name.partition("-")[2]) < 6 * 16
    say = Say()
    resumed = fit(base, say, tmp_path, resume=True)
    steps = [event["step"] for event in say.said if event["kind"] == "progress"]
    assert steps[0] > int(at.name.partition("-")[2]) and steps[-1] == EPOCHS * 16
    assert np.abs(stopped.scores(new.items) - run[0].scores(new.items)).max() > 0.2
    assert resumed.scores(new.items) == pytest.approx(run[0].scores(new.items), abs=1e-3)
    assert right(resumed, new) >= 0.95
