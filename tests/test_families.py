"""What every family promises, taken from the registry: a new family is tested the moment its file exists."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from left_models import leave
from served import by_words, serving
from tiny_causal import save_tiny_lm
from tiny_encoders import save_tiny

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import FamilyOptions, Fitting, Surroundings, all_families, families_for, get_family
from medbench.records import Device, Examples
from medbench.workspace import Workspace

NAMES = sorted(all_families())
TEXT_PAIRS = [
    (name, answer) for name in NAMES for answer in sorted(get_family(name).answers) if "text" in get_family(name).items
]
ODD = ["", " \n ", "zzz", "the tumour", "Ünïcode Größe 発熱 fièvre İstanbul 😷\nheart", "heart " * 500, "\x00 ... !!"]


def planted(answer, n_items=60, n_labels=3, seed=0):
    """Return examples whose labels show as words: heart, liver, tumour; every other label has no word."""
    rng = np.random.default_rng(seed)
    words = ["heart", "liver", "tumour"]
    truth = np.zeros((n_items, n_labels), dtype=bool)
    texts = []
    for row in range(n_items):
        size = 1 if answer == "one" else int(rng.integers(1, 3))
        chosen = rng.choice(min(n_labels, 3), size=min(size, n_labels), replace=False)
        truth[row, chosen] = True
        said = [words[label] for label in chosen for _ in range(2)] + rng.choice(
            ["study", "group", "the", "of"], 8
        ).tolist()
        rng.shuffle(said)
        texts.append(f"{said[0]} {row}\n" + " ".join(said[1:]))
    labels = tuple(f"label {at}" for at in range(n_labels))
    return Examples(texts, truth, labels, answer, tuple(f"g{row}" for row in range(n_items)))


def fitting(seed=0, stop=False, around=None):
    """Return a Fitting that keeps its events in memory."""
    say = Say()
    if stop:
        say.stop.set()
    return Fitting(np.random.default_rng(seed), Device(), say, around=around or Surroundings())


@pytest.fixture(scope="session")
def around(tmp_path_factory):
    """Return a function: answer -> surroundings with two small real models, for families that build on others."""
    kept = {}

    def surroundings(answer):
        if answer not in kept:
            place = Workspace.here(tmp_path_factory.mktemp("others"))
            for name in ("keywords", "linear"):
                leave(place, name, planted(answer), planted(answer, 24, seed=1), dataset="planted")
            kept[answer] = Surroundings(place, "planted")
        return kept[answer]

    return surroundings


@pytest.fixture(scope="session")
def address():
    """Serve a model that names the labels whose words stand in a text; give its address."""
    pytest.importorskip("litellm")
    with serving(by_words({"heart": "label 0", "liver": "label 1", "tumour": "label 2"})) as server:
        yield server.address


@pytest.fixture(scope="session")
def small(tmp_path_factory, request):
    """Return a function: family -> options that make it small (a tiny base of random weights, one epoch)."""
    made = {}

    def options(family):
        if "address" in family.Options.model_fields:
            return family.parse({"address": request.getfixturevalue("address"), "timeout": 10, "examples": 2})
        sizes = {"epochs": 1, "max_tokens": 48}
        if "base" in family.Options.model_fields:
            save = save_tiny_lm if family.name == "causal" else save_tiny
            if save not in made:
                made[save] = save(tmp_path_factory.mktemp("base") / "tiny")
            sizes["base"] = str(made[save])
        sizes |= {"quick": "keywords", "slow": "linear"}
        return family.parse({key: value for key, value in sizes.items() if key in family.Options.model_fields})

    return options


@pytest.fixture(scope="session")
def fitted(small, around):
    """Return a function: name and answer -> (family, model, train), each fitted once."""
    kept = {}

    def fit(name, answer):
        if (name, answer) not in kept:
            family = get_family(name)
            train = planted(answer)
            model = family.fit(train, planted(answer, 24, seed=1), small(family), fitting(around=around(answer)))
            kept[name, answer] = (family, model, train)
        return kept[name, answer]

    return fit


@pytest.mark.parametrize("name", NAMES)
def test_names_and_words(name):
    family = get_family(name)
    assert family.name == name == type(family).__module__.rsplit(".", 1)[1]
    assert family.title and family.summary.endswith(".")
    assert family.items <= {"text", "image"} and family.items
    assert family.answers <= {"one", "many"} and family.answers
    assert issubclass(family.Options, FamilyOptions)
    for field, info in family.Options.model_fields.items():
        assert info.description and info.description.endswith("."), f"{name}.{field} needs one sentence"
    assert family.Options().model_dump() == family.parse({}).model_dump()
    json.dumps(family.Options.model_json_schema())  # the form is drawn from it


@pytest.mark.parametrize("name", NAMES)
def test_all_wrong_options_are_told_at_once(name):
    with pytest.raises(MedbenchError) as caught:
        get_family(name).parse({"no_such_option": 1, "another": 2})
    assert "no_such_option=1" in caught.value.found and "another=2" in caught.value.found
    assert f"valid options for {name}" in str(caught.value)


def test_the_registry_answers_in_order_and_refuses_strangers():
    assert [family.name for family in families_for("text", "many")][:2] == ["keywords", "linear"]
    with pytest.raises(MedbenchError, match="one of the families"):
        get_family("oracle")


def test_listing_families_and_their_options_imports_no_heavy_library():
    code = (
        "import sys; from medbench.families import all_families; [f.parse({}) for f in all_families().values()]; "
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.parametrize(("name", "answer"), TEXT_PAIRS)
def test_scores_and_vectors(fitted, name, answer):
    _, model, train = fitted(name, answer)
    before = list(train.items)
    scores, vectors = model.scores(train.items), model.embed(train.items)
    assert model.labels == train.labels and model.answer == answer
    assert scores.shape == (60, 3) and scores.dtype == np.float32
    assert scores.min() >= 0 and scores.max() <= 1
    if answer == "one":
        assert scores.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert vectors.shape[0] == 60 and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    assert list(train.items) == before
    # The order and the company of items change nothing.
    alone = np.concatenate([model.scores([text]) for text in train.items[:4][::-1]])[::-1]
    assert alone == pytest.approx(scores[:4], abs=2e-3)


@pytest.mark.parametrize(("name", "answer"), TEXT_PAIRS)
def test_it_learns_from_examples(fitted, name, answer):
    family, model, _ = fitted(name, answer)
    if name == "embedding" or not (family.cheap or family.combines):
        pytest.skip("a random tiny encoder learns nothing in one epoch; its own tests train longer")
    new = planted(answer, 90, seed=7)
    scores = model.scores(new.items)
    assert (scores.argmax(axis=1) == 2)[new.truth[:, 2] & (new.truth.sum(axis=1) == 1)].mean() > 0.9
    assert scores[new.truth].mean() > scores[~new.truth].mean() + 0.2


@pytest.mark.parametrize(("name", "answer"), TEXT_PAIRS)
def test_odd_texts_get_finite_scores(fitted, name, answer):
    _, model, _ = fitted(name, answer)
    scores, vectors = model.scores(ODD), model.embed(ODD)
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1
    assert np.isfinite(vectors).all()
    norms = np.linalg.norm(vectors, axis=1)
    assert (((norms - 1) ** 2 < 1e-3) | (norms == 0)).all()
    assert model.scores([]).shape == (0, 3) and len(model.embed([])) == 0
    cut = model.cut(ODD)
    assert cut.shape == (len(ODD),) and cut.min() >= 0 and cut.max() <= 1


@pytest.mark.parametrize(("name", "answer"), TEXT_PAIRS)
def test_reasons_are_whole_words_of_the_original(fitted, name, answer):
    _, model, _ = fitted(name, answer)
    for text in ("Heart disease: the HEART-study, of 12 patients.\nLiver, heart & tumour.", ODD[4], ODD[0]):
        found = model.reasons(text, "label 0")
        assert found.label == "label 0" and found.method
        assert found.faithfulness is None or -1 <= found.faithfulness <= 1
        last = 0
        for span in found.spans:
            assert last <= span.start < span.end <= len(text) and np.isfinite(span.weight)
            assert span.start == 0 or not (text[span.start - 1].isalnum() and text[span.start].isalnum())
            assert span.end == len(text) or not (text[span.end - 1].isalnum() and text[span.end].isalnum())
            last = span.end


@pytest.mark.parametrize(("name", "answer"), TEXT_PAIRS)
def test_saved_and_loaded_it_answers_the_same(fitted, name, answer, tmp_path):
    family, model, train = fitted(name, answer)
    model.save(tmp_path)
    loaded = family.load(tmp_path, Device())
    assert loaded.labels == model.labels and loaded.answer == model.answer
    texts = [*train.items[:10], *ODD]
    assert loaded.scores(texts) == pytest.approx(model.scores(texts), abs=1e-4)
    assert loaded.embed(texts) == pytest.approx(model.embed(texts), abs=1e-3)
    here, there = (each.reasons(train.items[0], "label 1") for each in (model, loaded))
    assert [(span.start, span.end) for span in here.spans] == [(span.start, span.end) for span in there.spans]
    assert [span.weight for span in here.spans] == pytest.approx([span.weight for span in there.spans], abs=1e-2)


@pytest.mark.parametrize(("name", "answer"), TEXT_PAIRS)
def test_nothing_saved_is_pickled(fitted, name, answer, tmp_path):
    _, model, _ = fitted(name, answer)
    model.save(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert path.suffix in {".json", ".npz", ".safetensors", ".parquet", ".txt", ".md"}, path.name
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                assert all(file[part].dtype != object for part in file.files)
            assert all(entry.filename.endswith(".npy") for entry in zipfile.ZipFile(path).infolist())


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_told_in_one_sentence(name, tmp_path):
    with pytest.raises(MedbenchError) as caught:
        get_family(name).load(tmp_path, Device())
    assert caught.value.todo.endswith(".")


@pytest.mark.parametrize(("name", "answer"), TEXT_PAIRS)
def test_the_same_seed_gives_the_same_model(fitted, small, around, name, answer):
    family, model, train = fitted(name, answer)
    again = family.fit(train, planted(answer, 24, seed=1), small(family), fitting(around=around(answer)))
    assert again.scores(train.items) == pytest.approx(model.scores(train.items), abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_estimate_is_told_without_training(name, small, around):
    family = get_family(name)
    found = family.estimate_among(planted("many"), small(family), Device(), around("many"))
    assert found.seconds is None or found.seconds > 0
    assert 0 <= found.cut <= 1
    assert all(sentence.endswith(".") for sentence in (*found.problems, *found.notes))


CHEAP = [(name, answer) for name, answer in TEXT_PAIRS if get_family(name).cheap]


@pytest.mark.parametrize(("name", "answer"), CHEAP)
@pytest.mark.parametrize("case", ["never", "always", "once", "two labels", "one label", "three texts"])
def test_lopsided_data_does_not_crash(small, name, answer, case):
    family = get_family(name)
    n_labels = {"two labels": 2, "one label": 1}.get(case, 4)
    train = planted(answer, 3 if case == "three texts" else 30, n_labels)
    if case == "always" and answer == "many":
        train.truth[:, 0] = True
    if case == "always" and answer == "one":
        train.truth[:] = np.eye(n_labels, dtype=bool)[0]
    if case == "once":
        train.truth[:, 3] = False
        train.truth[0] = np.eye(4, dtype=bool)[3]
    model = family.fit(train, train.take([]), small(family), fitting())
    scores = model.scores([*train.items, *ODD])
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1
    if answer == "one":
        assert scores.sum(axis=1) == pytest.approx(1, abs=1e-4)
    if case == "never" and answer == "many":
        assert scores[:, 3].max() < 0.3 and np.ptp(scores[: len(train), 3]) < 0.05
    if case == "always" and answer == "many":
        assert scores[: len(train), 0].min() > 0.7
    if case == "two labels":
        assert scores.shape[1] == 2
    assert np.isfinite(model.embed(ODD)).all()
