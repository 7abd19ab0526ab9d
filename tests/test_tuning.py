"""Searching options: the better ones are found on validation, poor trials are broken off, a stopped search goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field

from medbench import runs, tuning
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Family, FamilyOptions, Fitting, Model, Surroundings, get_family
from medbench.records import Device, Examples, RunSpec, TuneSpec

LINEAR = get_family("linear")


def notes(n: int, seed: int, noise: float = 0.0) -> Examples:
    """Texts whose label shows in the order of two words that all texts have."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, 2), dtype=bool)
    texts = []
    for row in range(n):
        same = int(rng.integers(2))
        truth[row, same if rng.random() >= noise else 1 - same] = True
        pair = "left right" if same else "right left"
        texts.append(" ".join([pair, *rng.choice(["study", "trial", "group"], 4)]))
    return Examples(texts, truth, ("outward", "inward"), "one", tuple(f"g{row}" for row in range(n)))


TRAIN, VALIDATION = notes(160, 0), notes(80, 1)


def search(folder: Path, trials: int = 12, say: Say | None = None, family: Any = LINEAR, **fixed: Any) -> tuning.Found:
    around = Surroundings(None, "ours", "text", "micro_f1")
    fitting = Fitting(np.random.default_rng(0), Device(), say or Say(), around=around)
    return tuning.search(family, fixed, TRAIN, VALIDATION, TuneSpec(minutes=5, trials=trials), fitting, folder)


def test_it_finds_that_pairs_of_words_matter_and_says_so(tmp_path: Path) -> None:
    found = search(tmp_path, loss="svm", min_texts=1)
    assert found.options.words >= 2 and found.options.loss == "svm"  # type: ignore[attr-defined]
    assert found.best.value == pytest.approx(1.0)
    poor = [trial for trial in found.trials if trial.options["words"] == 1]
    assert poor and all(trial.value < 0.8 for trial in poor if trial.value is not None)
    assert max(found.importance, key=lambda name: found.importance[name]) == "words"
    assert "best of 12 trials" in found.sentence()


def test_a_stopped_search_keeps_what_it_has_and_goes_on(tmp_path: Path) -> None:
    first = search(tmp_path, trials=4, min_texts=1)
    with (tmp_path / tuning.FILE).open("a") as file:
        file.write('{"number": 4, "opt')  # a killed process
    again = search(tmp_path, trials=7, min_texts=1)
    assert [trial.options for trial in again.trials[:4]] == [trial.options for trial in first.trials]
    assert len(again.trials) == 7
    lines = (tmp_path / tuning.FILE).read_text().splitlines()
    assert json.loads(lines[-1])["number"] == 6
    assert [json.loads(line)["number"] for line in lines] == list(range(7))  # the torn one is gone


def test_what_the_user_gives_is_held(tmp_path: Path) -> None:
    found = search(tmp_path, trials=3, words=1, min_texts=1)
    assert all("words" not in trial.options for trial in found.trials)
    assert found.options.words == 1  # type: ignore[attr-defined]


def test_nothing_to_search_and_nothing_to_search_on_are_told(tmp_path: Path) -> None:
    every = {name: getattr(LINEAR.Options(), name) for name in tuning.space_of(LINEAR, {})}
    with pytest.raises(MedbenchError, match="all of them given"):
        search(tmp_path, **every)
    with pytest.raises(MedbenchError, match="which has none"):
        search(tmp_path, family=get_family("keywords"))
    stopped = Say()
    stopped.stop.set()
    with pytest.raises(Stopped):  # cancelled, not failed
        search(tmp_path, say=stopped)


class _Steps(FamilyOptions):
    rate: float = Field(0.5, description="How good it gets.")


class _Stepwise(Family[_Steps]):
    """Says a validation figure five times while it learns, as networks do, and stops when told."""

    name, title, summary = "stepwise", "Stepwise", "For this test."
    items: ClassVar = frozenset({"text"})
    answers: ClassVar = frozenset({"one"})
    Options = _Steps
    space: ClassVar = {"rate": (0.0, 1.0)}
    looked: ClassVar[list[int]] = []

    def fit(self, train: Examples, validation: Examples, options: _Steps, fitting: Fitting) -> Model:
        looks = 0
        for step in range(1, 6):
            if fitting.say.stopping:
                break
            fitting.say("metric", step=step, micro_f1=options.rate * step / 5)
            looks = step
        self.looked.append(looks)
        return get_family("keywords").fit(train, validation, get_family("keywords").parse({}), fitting)

    def load(self, folder: Path, device: Device) -> Model:
        raise NotImplementedError


def test_poor_trials_are_broken_off(tmp_path: Path) -> None:
    _Stepwise.looked.clear()
    found = search(tmp_path, trials=25, family=_Stepwise())
    states = [trial.state for trial in found.trials]
    assert "pruned" in states[8:] and "pruned" not in states[:8]
    assert min(_Stepwise.looked) < 5


def test_a_run_says_how_to_repeat_its_search() -> None:
    spec = RunSpec(task="literature", family="linear", dataset="ours", tune=TuneSpec(minutes=2, trials=5))
    assert "tune.minutes=2.0 tune.trials=5" in runs.command_line(spec)
    assert runs.parse_spec(runs.to_yaml(spec)) == spec
