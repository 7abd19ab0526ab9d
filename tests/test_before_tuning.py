"""The number that tuning has to beat: an output layer on the unchanged base, cheap, stoppable, and told on the card."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import import_planted
from drawn_pictures import encoded
from tiny_encoders import save_tiny
from tiny_lesions import LABELS, OPTIONS, lesion

from medbench import before_tuning, comparing_judged, runs
from medbench.errors import Stopped
from medbench.events import Say
from medbench.families import Fitting, Surroundings, get_family
from medbench.families._probing import some_rows
from medbench.records import Device, Examples, RunSpec, join_image
from medbench.workspace import Workspace, read_json

ENCODER, VISION = get_family("encoder"), get_family("vision")
SHORT: dict[str, Any] = {"max_tokens": 16, "epochs": 0.1, "batch": 4}


def fitting(say: Say | None = None) -> Fitting:
    return Fitting(np.random.default_rng(0), Device(), say or Say())


class StopAt(Say):
    """Asks to stop once something with these words was said."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words

    def __call__(self, kind: str, **fields: Any) -> None:
        super().__call__(kind, **fields)
        if self.words in str(fields.get("sentence", "")):
            self.stop.set()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("bases") / "bert")


def told_apart(n: int, seed: int) -> Examples:
    """Texts in which one word in two places means its label."""
    draw = np.random.default_rng(seed)
    truth = np.eye(2, dtype=bool)[draw.integers(0, 2, n)]
    items = [" ".join([("liver", "tumour")[int(row[1])]] * 2 + ["the", "of"]) for row in truth]
    return Examples(items, truth, ("a", "b"), "one")


def test_rows_are_drawn_by_their_rarest_label(rng: np.random.Generator) -> None:
    truth = np.zeros((1000, 2), dtype=bool)
    truth[:990, 0], truth[990:, 1] = True, True
    found = some_rows(truth, 100, rng)
    assert len(set(found.tolist())) == 100 and found.tolist() == sorted(found.tolist())
    assert (found >= 990).sum() == 10  # 1 % of the rows, and all of them are there
    assert some_rows(truth[:50], 100, rng).tolist() == list(range(50))
    assert len(some_rows(np.zeros((30, 2), dtype=bool), 10, rng)) == 10  # rows without a label count alike


def test_an_encoder_before_tuning_reads_what_its_base_knows(base: Path) -> None:
    options = ENCODER.parse({**SHORT, "base": str(base)})
    parts = {"train": told_apart(40, 1), "validation": told_apart(30, 2), "test": told_apart(30, 3)}
    found = before_tuning.judged(ENCODER, options, parts, fitting())
    assert found.metrics["accuracy"].value > 0.9 and found.metrics["accuracy"].n == 30
    (note,) = found.notes
    assert note == "“Before tuning” is the unchanged base with an output layer fitted on all 40 training texts."


def test_a_fit_goes_on_from_the_head_before_tuning(base: Path) -> None:
    train, held = told_apart(40, 1), told_apart(10, 2)
    options = ENCODER.parse({**SHORT, "base": str(base)})
    start = ENCODER.untuned(train, options, fitting())
    assert start is not None
    said = Say()
    on = ENCODER.fit(train, held, options, replace(fitting(said), start=start.handed_on()))
    alone = ENCODER.fit(train, held, options, fitting())
    assert "head_start" not in [event.get("name") for event in said.said]  # the texts were not read for it again
    assert np.allclose(on.scores(held.items), alone.scores(held.items), atol=1e-5)


def test_where_nothing_would_be_tuned_there_is_no_before(base: Path) -> None:
    frozen = ENCODER.parse({**SHORT, "base": str(base), "tuning": "frozen"})
    assert ENCODER.untuned(told_apart(10, 1), frozen, fitting()) is None
    assert VISION.untuned(pictures_told(Path()), VISION.parse(OPTIONS), fitting()) is None  # random weights
    parts = {"train": told_apart(10, 1), "validation": told_apart(0, 1), "test": told_apart(10, 2)}
    options = ENCODER.parse({**SHORT, "base": str(base)})
    assert before_tuning.judged(ENCODER, options, parts, fitting()) == before_tuning.Before()


@pytest.mark.parametrize("words", ["to start the output layer", "The base before tuning answers"])
def test_a_stop_is_heard(base: Path, words: str) -> None:
    options = ENCODER.parse({**SHORT, "base": str(base)})
    parts = {"train": told_apart(20, 1), "validation": told_apart(10, 2), "test": told_apart(10, 3)}
    with pytest.raises(Stopped):
        before_tuning.judged(ENCODER, options, parts, fitting(StopAt(words)))


def pictures_told(folder: Path, n: int = 0, seed: int = 0) -> Examples:
    """Drawn lesions of three kinds, n of each, written into a folder."""
    items, truth = [], np.repeat(np.eye(3, dtype=bool), n, axis=0)
    for at, row in enumerate(truth):
        path = folder / f"{seed}-{at}.jpg"
        path.write_bytes(encoded(lesion(LABELS[int(row.argmax())], seed * 1000 + at)))
        items.append(join_image(str(path), {}))
    return Examples(items, truth, LABELS, "one")


def test_imagenet_features_tell_drawn_lesions_apart_before_tuning(tmp_path: Path) -> None:
    parts = {
        name: pictures_told(tmp_path, n, seed)
        for seed, (name, n) in enumerate([("train", 12), ("validation", 8), ("test", 8)])
    }
    options = VISION.parse({"size": 64, "read_size": 64, "views": 1})
    say = Say()
    found = before_tuning.judged(VISION, options, parts, fitting(say))
    assert found.metrics["balanced_accuracy"].value > 0.7
    assert found.notes == (
        "“Before tuning” is the unchanged base with an output layer fitted on all 36 training pictures.",
    )
    assert any("reads 36 training pictures" in str(event.get("sentence")) for event in say.said)
    with pytest.raises(Stopped):
        before_tuning.judged(VISION, options, parts, fitting(StopAt("training pictures")))


def carried(place: Workspace, spec: RunSpec) -> dict[str, Any]:
    """Carry a run to its end in its own process; return the card of its model."""
    run = runs.start(place, spec)
    *_, last = runs.follow(place, run)
    assert last["kind"] == "finished", (last, (place.run(run) / "log.txt").read_text()[-3000:])
    return read_json(place.model(run) / "model.json")


def test_a_run_tells_what_its_base_knew(workspace: Workspace, base: Path, tmp_path: Path) -> None:
    dataset = import_planted(workspace, tmp_path, rows=60)
    asked = {**SHORT, "base": str(base)}
    card = carried(workspace, RunSpec(task="literature", family="encoder", dataset=dataset, name="x", options=asked))
    before = card["baselines"]["before tuning"]
    assert before["micro_f1"]["n"] == card["metrics"]["micro_f1"]["n"] and set(before) == set(card["metrics"])
    assert any(note.startswith("“Before tuning” is the unchanged base") for note in card["notes"])
    assert comparing_judged.baselines([card])["x, before tuning"] == before


def test_a_network_to_start_from_is_judged_as_it_is(trained_lesions: tuple[Workspace, str]) -> None:
    from medbench import datasets, predicting

    place, run = trained_lesions
    card = read_json(place.model(run) / "model.json")
    dataset = datasets.load(place, card["dataset"]["id"])
    around = Surroundings(place, dataset.id, "image", "balanced_accuracy")
    options = VISION.parse({**OPTIONS, "start_from": run})
    asked = replace(fitting(), around=around)
    start = VISION.untuned(dataset.examples("train"), options, asked)
    assert start is not None and "that the training started from" in start.notes()[0]
    items = dataset.examples("test").items
    assert np.allclose(start.scores(items), predicting.load(place, run).model.scores(items), atol=1e-4)


def test_a_run_that_goes_on_from_another_tells_what_that_one_knew(
    trained_lesions: tuple[Workspace, str], tmp_path: Path
) -> None:
    shutil.copytree(trained_lesions[0].data.parent, tmp_path / "home")
    place, run = Workspace.here(tmp_path / "home"), trained_lesions[1]
    first = read_json(place.model(run) / "model.json")
    asked = {**OPTIONS, "start_from": run, "max_minutes": 0.001}
    card = carried(place, RunSpec(task="lesion", family="vision", dataset=first["dataset"]["id"], options=asked))
    before = card["baselines"]["before tuning"]["balanced_accuracy"]
    assert before["n"] == card["metrics"]["balanced_accuracy"]["n"]
    assert before["value"] == pytest.approx(first["metrics"]["balanced_accuracy"]["value"])  # the same, judged alike
    assert any("that the training started from" in note for note in card["notes"])
