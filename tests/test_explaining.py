"""A planted word is the top evidence by every method, and methods are measured against one another."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_attribution import TEXT, tumour

from medbench import evidence_agreement, evidence_sheet, explaining, predicting, record_evidence, trust
from medbench.attribution import evidence, measure, word_spans
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.evidence_agreement import agree
from medbench.families import Fitting, get_family
from medbench.predicting import Loaded
from medbench.records import Device, Examples, Item, Span
from medbench.shapley import shap_words

FILLER = ["patients", "study", "group", "after", "treatment", "weeks", "trial", "outcome"]
WORDS = {"heart": "infarction", "liver": "hepatitis", "lung": "asthma"}
LABELS = tuple(WORDS)


def planted(n: int, seed: int) -> Examples:
    """Three sentences of filler, one of them with the word that makes the label."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, 3), dtype=bool)
    texts = []
    for row in range(n):
        column = int(rng.integers(3))
        truth[row, column] = True
        sentences = [list(map(str, rng.choice(FILLER, 6))) for _ in range(3)]
        sentences[int(rng.integers(3))].insert(int(rng.integers(1, 6)), WORDS[LABELS[column]])
        texts.append(" ".join(" ".join(words).capitalize() + "." for words in sentences))
    return Examples(texts, truth, LABELS, "many", tuple(map(str, range(n))))


@pytest.fixture(scope="module")
def train() -> Examples:
    return planted(90, 0)


@pytest.fixture(scope="module")
def known(train: Examples) -> dict[str, Loaded]:
    """Models by family, as they lie in memory."""
    found = {}
    for name in ("linear", "keywords"):
        family = get_family(name)
        fitting = Fitting(np.random.default_rng(0), Device(), Say())
        model = family.fit(train, train.take([]), family.parse({}), fitting)
        scores = model.scores(train.items)
        confidence = trust.fit_trust(scores, train.truth, "many", None, None, np.random.default_rng(0))
        card = {"id": name, "name": name, "item": "text", "answer": "many"}
        found[name] = Loaded(name, Path("nowhere"), card, model, confidence)
    return found


def item_with(label: str) -> Item:
    text = f"The trial had two groups. Patients with {WORDS[label]} were studied for weeks. The outcome was the same."
    return Item("1", "", text)


def top(text: str, spans: Sequence[Span]) -> str:
    best = max(spans, key=lambda span: span.weight)
    return text[best.start : best.end]


@pytest.mark.parametrize("family", ["linear", "keywords"])
def test_the_planted_word_is_the_top_evidence_by_every_method(known: dict[str, Loaded], family: str) -> None:
    loaded, item = known[family], item_with("liver")
    names = [method.name for method in explaining.methods_for(loaded)]
    assert names == [{"linear": "contributions"}.get(family, family), "occlusion", "sentences", "shap"]
    compared = explaining.compare(loaded, item, "liver")
    assert compared.methods == tuple(names)
    for name, told in zip(names, compared.told, strict=True):
        found = top(item.joined, told.spans)
        assert found == ("Patients with hepatitis were studied for weeks." if name == "sentences" else "hepatitis")
        without = item.joined.replace(found, "")
        before, after = (float(loaded.model.label_scores([text], "liver")[0]) for text in (item.joined, without))
        assert before - after > 0.2
        assert told.measured is not None and told.faithfulness == told.measured.gain > 0.1
        assert told.measured.deletion is not None and told.measured.chance is not None
        assert told.measured.deletion < told.measured.chance < (told.measured.insertion or 0)
    for at, row in enumerate(compared.agreement):
        assert row[at].overlap == 1
        assert row[at].correlation == pytest.approx(1)
    assert compared.agreement[0][2].unit == "sentences"
    assert agree(item.joined, compared.told[0].spans, compared.told[3].spans, top=1).overlap == 1


def test_shap_shares_out_the_whole_answer() -> None:
    spans = shap_words(tumour, TEXT)
    assert {TEXT[span.start : span.end] for span in spans} == {"tumour", "Tumour", "mice"}
    # From .1 for a text without words to .9, in log-odds.
    assert sum(span.weight for span in spans) == pytest.approx(2 * np.log(9))
    assert shap_words(tumour, "") == ()
    assert [span.weight for span in shap_words(tumour, "tumour")] == [pytest.approx(2 * np.log(9))]
    few = shap_words(tumour, "filler word here. " * 30 + "A tumour grew here.", readings=40)
    assert sum(span.weight for span in few) == pytest.approx(2 * np.log(9))


def test_agreement_is_one_with_itself_and_less_with_another() -> None:
    right = evidence(tumour, TEXT)
    words = word_spans(TEXT)
    wrong = [Span(*words[1], 2.0), Span(*words[4], 1.0)]
    same = agree(TEXT, right, right)
    assert (same.correlation, same.overlap, same.unit) == (pytest.approx(1), 1.0, "words")
    other = agree(TEXT, right, wrong)
    assert other.overlap == 0.0 and other.correlation is not None and other.correlation < 0.2
    assert agree(TEXT, wrong, right) == other
    assert agree(TEXT, right, []).overlap is None and agree(TEXT, right, []).correlation is None
    # A method that marks sentences is compared in sentences: the word stands in the marked one.
    start = TEXT.index("The tumour")
    whole = [Span(start, TEXT.index("Tumour size") - 1, 1.0)]
    coarse = agree(TEXT, evidence(tumour, TEXT[: TEXT.index("Tumour size")]), whole)
    assert (coarse.unit, coarse.overlap) == ("sentences", 1.0)


def test_a_hand_worked_rank_correlation() -> None:
    text = "one two three four"
    words = word_spans(text)
    first = [Span(*word, weight) for word, weight in zip(words, (4.0, 3.0, 2.0, 1.0), strict=True)]
    second = [Span(*word, weight) for word, weight in zip(words, (3.0, 4.0, 2.0, 1.0), strict=True)]
    # 1 - 6 * (1 + 1) / (4 * 15)
    assert agree(text, first, second).correlation == pytest.approx(0.8)
    assert agree(text, first, second, top=1).overlap == 0


def test_the_right_words_beat_random_ones() -> None:
    rng = np.random.default_rng(0)
    text = " ".join(["filler"] * 20 + ["tumour"] + ["filler"] * 19)
    words = word_spans(text)
    right = measure(tumour, text, evidence(tumour, text))
    drawn = [measure(tumour, text, [Span(*words[int(at)], 1.0)]) for at in rng.integers(0, 20, 5)]
    assert right is not None and right.gain > 0.5
    assert all(one is not None and one.gain <= 0 for one in drawn)


def test_unknown_labels_and_methods_are_refused_by_name(known: dict[str, Loaded]) -> None:
    with pytest.raises(MedbenchError, match="Expected one of the labels heart, liver, lung, found 'bone'"):
        explaining.explain(known["linear"], item_with("liver"), "bone")
    wrong = "Expected a method that fits linear: contributions, occlusion, sentences, shap, found 'attention-rollout'"
    with pytest.raises(MedbenchError, match=wrong):
        explaining.explain(known["linear"], item_with("liver"), "liver", "attention-rollout")
    assert explaining.explain(known["linear"], Item("1", "", ""), "liver").spans == ()


def test_a_slow_method_says_how_far_it_is_and_can_be_stopped(known: dict[str, Loaded]) -> None:
    told: list[float] = []
    stop = threading.Event()

    def tell(share: float) -> None:
        told.append(share)
        if len(told) == 3:
            stop.set()

    with pytest.raises(Stopped):
        explaining.explain(known["keywords"], item_with("lung"), "lung", "shap", tell, stop)
    assert len(told) == 3 and 0 < told[0] < told[1] < told[2] < 1


def test_sentences_of_many_records_in_one_batch(known: dict[str, Loaded], train: Examples) -> None:
    loaded = known["linear"]
    items = [Item(str(at), "", text) for at, text in enumerate(train.items[:70])]
    answers = predicting.predict(loaded, items)
    wanted = [answer.chosen or (answer.labels[0].label,) for answer in answers]
    shares: list[float] = []
    found = record_evidence.sentence_evidence(
        loaded, [*items, Item("empty", "", "")], [*wanted, ("lung",)], shares.append
    )
    assert len(found) == 71 and shares[-1] == 1.0 and found[70][0].spans == ()
    right = 0
    for item, labels, told in zip(items, wanted, found, strict=False):
        assert [one.label for one in told] == list(labels)
        right += WORDS[labels[0]] in record_evidence.shown_sentence(item.joined, told[0]).lower()
        alone = explaining.explain(loaded, item, labels[0], "sentences")
        assert [span.weight for span in told[0].spans] == pytest.approx([span.weight for span in alone.spans], abs=1e-5)
        assert told[0].faithfulness is not None and told[0].faithfulness > 0
        # The strongest was chosen by the same readings, so the gain is no proof, and the rest leaves it out.
        assert told[0].measured is not None and told[0].measured.most and told[0].measured.random < 0.05
        assert "the most that can be said" in evidence_sheet.faithful_words(told[0])
        assert "drive" not in evidence_sheet.faithful_words(told[0])
    assert right >= 66
    stop = threading.Event()
    stop.set()
    assert record_evidence.sentence_evidence(loaded, items, wanted, None, stop) == []


def test_methods_are_compared_over_many_texts(known: dict[str, Loaded]) -> None:
    pairs = [(item_with(label), label) for label in LABELS]
    found = explaining.study(known["linear"], pairs, ("contributions", "occlusion", "sentences"))
    assert found.items == 3
    assert np.diag(found.correlation) == pytest.approx(1)
    assert found.same_top == pytest.approx(np.ones((3, 3)))
    assert all(row["gain"] > 0.1 and row["texts"] == 3 for row in found.rows)
    told = found.as_json()
    assert [row["name"] for row in told["methods"]] == ["contributions", "occlusion", "sentences"]
    assert evidence_agreement.TOP_WORDS == 5
