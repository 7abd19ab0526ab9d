"""A frozen tiny encoder with each head: it learns a planted word, reads a text once and names its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import WORDS, save_tiny

from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting
from medbench.families._embedding_heads import fit_linear
from medbench.families._sentence_encoder import Reading, SentenceEncoder, sentence_encoder
from medbench.families._text_batches import VectorMemory, sorted_batches
from medbench.families.embedding import FAMILY, EmbeddingModel
from medbench.records import Device, Examples

FILL = [word for word in WORDS[5:] if word not in ("tumour", "liver")]


def planted(n: int, answer: Any = "many", seed: int = 0) -> Examples:
    """Return texts in which "tumour", said twice, means label a and "liver" label b."""
    rng = np.random.default_rng(seed)
    items, truth = [], np.zeros((n, 2), dtype=bool)
    for row in range(n):
        said = "tumour" if row % 2 else "liver"
        words = [*(str(word) for word in rng.choice(FILL, 5)), said]
        rng.shuffle(words)
        truth[row, 1 - row % 2] = True
        items.append(f"the {said}\n" + " ".join(words) + ".")
    return Examples(items, truth, ("a", "b"), answer)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("bases") / "bert")


def fit(base: Path, answer: str = "many", say: Say | None = None, **options: Any) -> EmbeddingModel:
    parsed = FAMILY.parse({"base": str(base), "max_tokens": 32, "hidden": 16, **options})
    fitting = Fitting(np.random.default_rng(0), Device(), say or Say())
    train = planted(200, answer)
    return FAMILY.fit(train, train.take([]), parsed, fitting)


@pytest.mark.parametrize("head", ["mlp", "svm", "logistic"])
@pytest.mark.parametrize("answer", ["one", "many"])
def test_every_head_learns_a_planted_word_and_comes_back(base: Path, tmp_path: Path, head: str, answer: str) -> None:
    model = fit(base, answer, head=head, C=None if head == "mlp" else 10.0)
    new = planted(80, answer, seed=5)
    scores = model.scores(new.items)
    assert (scores.argmax(axis=1) == new.truth.argmax(axis=1)).mean() > 0.8
    if answer == "one":
        assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"embedding.json", "head.npz"}
    loaded = FAMILY.load(tmp_path, Device())
    items = [*new.items[:5], "", "heart\n"]
    assert loaded.scores(items) == pytest.approx(model.scores(items), abs=1e-6)


def test_the_planted_word_is_the_evidence(base: Path) -> None:
    text = "the tumour\nheart of bone skin tumour renal."
    model = fit(base)
    found = model.reasons(text, "a")
    top = max(found.spans, key=lambda span: span.weight)
    assert "tumour" in text[top.start : top.end]
    assert model.scores([text.replace("tumour", "")])[0, 0] < model.scores([text])[0, 0]
    with pytest.raises(MedbenchError, match="Expected a label of this model, found 'z'"):
        model.reasons(text, "z")


def test_vectors_are_sentence_vectors_of_length_1(base: Path) -> None:
    model = fit(base)
    vectors = model.embed(planted(4).items)
    assert vectors.shape == (4, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_text_is_read_once_in_a_process(base: Path) -> None:
    reading = Reading(str(base), 32, 1, True, "several", 256)
    encoder = sentence_encoder(reading, "cpu")
    assert sentence_encoder(reading, "cpu") is encoder
    heard: list[int] = []
    texts = planted(200).items
    first = encoder.encode(texts, lambda done, _: heard.append(done))
    assert heard == [128, 200]
    assert first.shape == (200, 16 * 5)
    assert (encoder.encode(texts[::-1]) == first[::-1]).all()
    assert first[:9] == pytest.approx(encoder.read(texts[:9]), abs=1e-5)


def test_memory_calls_only_for_what_it_does_not_know_and_forgets_the_oldest() -> None:
    asked: list[str] = []

    def encode(texts: Any) -> np.ndarray:
        asked.extend(texts)
        return np.array([[len(text)] for text in texts], dtype=np.float32)

    memory = VectorMemory(limit=3 * 4)
    assert memory.get(["a", "bb", "a"], 1, encode).ravel().tolist() == [1, 2, 1]
    memory.get(["bb", "ccc", "dddd"], 1, encode)
    assert asked == ["a", "bb", "ccc", "dddd"]
    memory.get(["a"], 1, encode)
    assert asked[-1] == "a"
    assert memory.get([], 1, encode).shape == (0, 1)


def test_windows_read_what_one_window_cuts(base: Path) -> None:
    text = "heart " * 20 + "tumour"
    short, long = (fit(base, windows=windows, max_tokens=8, title=False, networks=1) for windows in (1, 4))
    assert short.cut([text]) == pytest.approx([15 / 21])
    assert long.cut([text]) == pytest.approx([0])
    other = "heart " * 20 + "skin"
    assert short.embed([text]) == pytest.approx(short.embed([other]), abs=1e-6)
    assert np.abs(long.embed([text]) - long.embed([other])).max() > 1e-4


def test_padding_changes_nothing(base: Path) -> None:
    one = SentenceEncoder(Reading(str(base), 32, 1, False, "several", 16), "cpu")
    many = SentenceEncoder(Reading(str(base), 32, 1, False, "several", 10**5), "cpu")
    texts = ["heart", "liver of the bone and skin", "", "tumour " * 20]
    assert one.read(texts) == pytest.approx(many.read(texts), abs=1e-5)


def test_batches_are_sorted_and_within_the_budget() -> None:
    lengths = [5, 100, 7, 7, 300, 1]
    batches = list(sorted_batches(lengths, 200))
    # 300 alone; 200 / 100 = 2 rows; 200 / 7 = 28 rows.
    assert batches == [[4], [1, 2], [3, 0, 5]]


@pytest.mark.parametrize("loss", ["svm", "logistic"])
def test_linear_heads_agree_with_scikit_learn(loss: str) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    y = x @ rng.normal(size=5) + rng.normal(size=300) > 0.5
    found = fit_linear(x, y[:, None], loss, 0.7, 0.0, False, Say())
    if loss == "svm":
        peer = LinearSVC(C=0.7, intercept_scaling=100, tol=1e-6, max_iter=100_000).fit(x, y)
    else:
        peer = LogisticRegression(C=0.7, tol=1e-8, max_iter=1000).fit(x, y)
    assert found["weight"][:, 0] == pytest.approx(peer.coef_[0], abs=2e-3)
    assert found["bias"] == pytest.approx(peer.intercept_, abs=2e-3)


def test_labels_without_positives_and_with_nothing_else_do_not_crash(base: Path) -> None:
    train = planted(40)
    truth = np.column_stack([train.truth, np.zeros(40, dtype=bool), np.ones(40, dtype=bool)])
    odd = Examples(train.items, truth, ("a", "b", "none", "all"), "many")
    for head in ("mlp", "svm", "logistic"):
        parsed = FAMILY.parse({"base": str(base), "max_tokens": 32, "hidden": 8, "head": head})
        scores = FAMILY.fit(odd, odd.take([]), parsed, Fitting(np.random.default_rng(0), Device(), Say())).scores(["x"])
        assert np.isfinite(scores).all()
        assert scores[0, 2] < 0.5 < scores[0, 3]


def test_a_stop_is_heard(base: Path) -> None:
    say = Say()
    say.stop.set()
    with pytest.raises(Stopped):
        fit(base, say=say)


def test_another_base_and_damaged_files_are_refused(tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base")
    model = fit(base, networks=1)
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    save_tiny(base, seed=1)
    with pytest.raises(MedbenchError, match="with the weights this model was trained on, found other weights"):
        FAMILY.load(folder, Device())
    (folder / "head.npz").write_bytes(b"torn")
    with pytest.raises(MedbenchError, match=r"Expected head\.npz of a saved model, found a damaged file"):
        FAMILY.load(folder, Device())
    (folder / "embedding.json").unlink()
    with pytest.raises(MedbenchError, match=r"Expected embedding\.json of a saved model, found no such file"):
        FAMILY.load(folder, Device())


def test_estimate_and_remedy() -> None:
    few, many = (FAMILY.estimate(planted(n), FAMILY.parse({}), Device()) for n in (20, 400))
    assert few.problems == () and few.cut == 0
    assert few.seconds is not None and many.seconds is not None
    assert few.seconds < many.seconds
    told = FAMILY.estimate(planted(20), FAMILY.parse({"base": "./nowhere"}), Device()).problems
    assert len(told) == 1 and "found no folder './nowhere'" in told[0]
    assert FAMILY.remedy(MemoryError(), FAMILY.parse({"tokens_per_batch": 1024})) == (
        "There was not enough memory; try batches of 512 tokens.",
        {"tokens_per_batch": 512},
    )


# --- pooling ---------------------------------------------------------------------------------------------------


def pooled_folder(base: Path, folder: Path, mode: str) -> Path:
    """Return a sentence-transformers folder of a tiny base with a kind of pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    words = Transformer(str(base))
    pooling = Pooling(words.get_embedding_dimension(), pooling_mode=mode)
    SentenceTransformer(modules=[words, pooling, Normalize()], device="cpu").save(str(folder))
    return folder


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken"])
def test_vectors_are_pooled_as_the_folder_says(base: Path, tmp_path: Path, mode: str) -> None:
    from sentence_transformers import SentenceTransformer

    folder = pooled_folder(base, tmp_path / mode, mode)
    texts = ["the tumour", "the liver was seen. the tumour was not."]
    ours = SentenceEncoder(Reading(str(folder), 32, 1, False, "last", 512), "cpu").read(texts)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(texts, normalize_embeddings=True)
    assert np.allclose(ours, theirs, atol=1e-5)


def test_a_folder_whose_pooling_is_damaged_or_joined_is_refused(base: Path, tmp_path: Path) -> None:
    from medbench.families._pooling import pooling_of

    assert pooling_of(base) is None
    folder = pooled_folder(base, tmp_path / "joined", "cls")
    config = folder / "1_Pooling" / "config.json"
    config.write_text('{"embedding_dimension": 16, "pooling_mode": ["cls", "mean"]}')
    with pytest.raises(MedbenchError, match="cls \\+ mean"):
        pooling_of(folder)
    config.write_text('{"embedding_dimension": 16, "pooling_mode": "by the moon"}')
    with pytest.raises(MedbenchError, match="by the moon"):
        pooling_of(folder)
    config.unlink()
    with pytest.raises(MedbenchError, match="its pooling"):
        pooling_of(folder)
