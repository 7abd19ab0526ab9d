"""Reports: what the PDF says (read back with pypdf) and what the model card says."""

from __future__ import annotations

import io
from typing import Any

import pytest

from medbench import reports
from medbench.records import Explanation, Item, LabelScore, Prediction, Span

NAMES = {"C04": "Neoplasms", "C14": "Cardiovascular Diseases", "C20": "Immunologic Diseases"}


def figure(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": 300}


CARD: dict[str, Any] = {
    "id": "20260101-linear-ab12",
    "name": "linear on | invented",
    "task": "literature",
    "family": "linear",
    "answer": "many",
    "labels": list(NAMES),
    "label_names": NAMES,
    "created": "2026-01-01T10:00:00Z",
    "dataset": {
        "id": "invented-0123456789",
        "name": "invented",
        "n_rows": 1000,
        "splits": {"train": 700, "validation": 150, "test": 150},
        "licence": "CC0",
        "findings": ["12 texts stand twice."],
    },
    "options": {"C": 1.0},
    "seed": 3,
    "metrics": {"micro_f1": figure(0.7), "macro_f1": figure(0.6), "ece": figure(0.025), "log_loss": figure(0.4)},
    "judged_on": "the test split, 150 rows the model never saw",
    "per_label": [
        {"label": label, "n": 50, "precision": 0.5, "recall": 0.25, "f1": 1 / 3, "threshold": 0.4} for label in NAMES
    ],
    "baselines": {"majority": {"micro_f1": figure(0.3), "macro_f1": figure(0.1)}},
    "calibration": {"method": "isotonic", "ece_before": 0.11, "ece_after": 0.025},
    "cost": {"seconds": 80.4, "peak_memory": 1.5e9, "size": 4e6},
    "versions": {"python": "3.11"},
    "command": "medbench train --task literature",
    "intended_use": "Research use.",
    "limits": ["Fewer than 10 judged items carry C20."],
    "notes": ["The kept weights were fitted once more."],
}


def told(number: int, *, answer: str = "many", **facts: Any) -> Prediction:
    labels = tuple(
        LabelScore(label, NAMES[label], probability, 0.4, probability > 0.4)
        for label, probability in (("C04", 0.912), ("C14", 0.5), ("C20", 0.033))
    )
    return Prediction(f"pmid{number}", CARD["id"], labels, conformal=("C04", "C14"), coverage=0.9, **facts)


def item(number: int) -> Item:
    return Item(f"pmid{number}", f"Trial {number} of β-blockers", "We followed 120 patients. Поля 中 \x07 end.")


def pages(data: bytes) -> list[str]:
    from pypdf import PdfReader

    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(data)).pages]


def test_one_answer_says_everything() -> None:
    at = item(1).joined.index("followed")
    spans = (Span(at, at + len("followed 120"), 0.8), Span(0, 5, -0.4))
    reasons = {"pmid1": [Explanation("C04", "occlusion", spans, faithfulness=0.25)]}
    answer = told(1, needs_human=True, unlike=True, unlikeness=0.99, cut=0.125)
    text = " ".join(pages(reports.predictions_pdf([answer], [item(1)], CARD, reasons)))
    for fact in (
        "Labels for 1 item ",
        reports.NOTICE,
        "invented (1,000 rows; invented-0123456789)",
        "train 700, validation 150, test 150",
        "CC0",
        "micro-F1 0.700 [0.680, 0.720] 0.300",
        "Probabilities were calibrated (isotonic regression)",
        "Fewer than 10 judged items carry C20.",
        "1. Trial 1 of β-blockers",
        "Decided by the model: Neoplasms, Cardiovascular Diseases.",
        "0.912 (limit 0.40)",
        "To be read by a person",
        "A set made to hold on average 90% of the true labels of all items: Neoplasms, Cardiovascular Diseases.",
        "Unlike the training data (stranger than 99% of the items it was checked on)",
        "did not read the last 12% of the text",
        "Evidence for Neoplasms (occlusion; orange and underlined speaks against it).",
        "falls 0.25 more than without random words",
        "We followed 120 patients. Поля □ end.",
    ):
        assert fact in text, fact


def test_single_label_answers_have_no_limit_and_their_own_promise() -> None:
    rows = [{"label": "C04", "value": 0.55, "low": 0.38, "high": 0.7, "n": 33}]
    rows += [{"label": "C14", "value": 0.95, "low": 0.9, "high": 0.98, "n": 200}]
    sets = {"promised": 0.9, "kept": {"value": 0.92, "low": 0.9, "high": 0.94, "n": 1002}, "labels": rows}
    card = {**CARD, "answer": "one", "promises": {"sets": {**sets, "mean_size": 1.2}}}
    text = " ".join(pages(reports.predictions_pdf([told(1)], [item(1)], card)))
    promise = "A set made to hold the true label of 90% of all items"
    measured = "(measured: 92% of 1,002; but Neoplasms 55% of 33)"
    assert f"{promise} {measured}: Neoplasms, Cardiovascular Diseases." in text
    assert "such items" not in text
    assert "limit 0.40" not in text
    assert "none needs a person" in text


def test_an_empty_item_shows_its_problem_and_a_correction_stands_first() -> None:
    nothing = Prediction("x", CARD["id"], (), needs_human=True, doubt=1.0, problem="There is no text to classify.")
    answers, items = [nothing, told(2)], [Item("x", "", ""), item(2)]
    text = " ".join(pages(reports.predictions_pdf(answers, items, CARD, corrections={1: ["C20"]})))
    assert "1. (no text)" in text
    assert "There is no text to classify." in text
    assert text.index("Corrected by a reader to: Immunologic Diseases.") < text.index("Decided by the model:")
    assert "1 without text; 1 corrected by a reader" in text


def test_many_answers_are_a_table_and_the_doubtful_in_full() -> None:
    count = 130
    answers = [told(number, needs_human=number % 2 == 0, doubt=number / count) for number in range(count)]
    found = pages(reports.predictions_pdf(answers, [item(number) for number in range(count)], CARD))
    text = " ".join(found)
    assert "Labels for 130 items" in text
    assert "130 items: 65 to be read by a person." in text
    assert all(f"pmid{number} " in text for number in range(count))
    assert f"65 items; the {reports.DETAILS} most doubtful of them" in text
    assert text.count("Decided by the model") == reports.DETAILS
    assert "129. " in text  # position 128 is the most doubtful
    assert "2. Trial 1 " not in text  # not doubtful
    assert found[0].endswith(f"1 / {len(found)}")


def test_more_rows_than_a_table_holds_are_told() -> None:
    from pypdf import PdfReader

    count = reports.ROWS + 1
    data = reports.predictions_pdf([Prediction("x", "m", ())] * count, [Item("x", "t", "")] * count, CARD)
    reader = PdfReader(io.BytesIO(data))
    assert "The first 5,000 of 5,001; the exported file holds all." in reader.pages[0].extract_text()
    assert "5000" in reader.pages[-1].extract_text()
    assert "5001" not in reader.pages[-1].extract_text()


def test_long_words_long_texts_and_bare_cards_are_drawn() -> None:
    long = Item("long", "", "x" * 3000 + "\n\n" + "word " * 2000)
    text = " ".join(pages(reports.predictions_pdf([told(1)], [long], {"id": "m", "labels": []})))
    assert "… the first 4,000 of 13,00" in text
    assert "with the model m." in text
    assert reports.predictions_pdf([], [], CARD).startswith(b"%PDF")


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predictions for 0 items"):
        reports.predictions_pdf([told(1)], [], CARD)


def test_the_model_card_says_what_it_must() -> None:
    text = reports.model_card_markdown(CARD)
    for fact in (
        "# linear on \\| invented\n",
        "| Labels | 3: Neoplasms, Cardiovascular Diseases, Immunologic Diseases |",
        "Judged on the test split, 150 rows the model never saw.",
        "|  | model [95 % interval] | majority |\n| --- | --- | --- |\n| micro-F1 | 0.700 [0.680, 0.720] | 0.300 |",
        "| expected calibration error | 0.025 [0.005, 0.045] | – |",
        "the expected calibration error was 0.110 before and 0.025 after.",
        "| Neoplasms | 50 | 0.500 | 0.250 | 0.333 | 0.400 |",
        "- Fewer than 10 judged items carry C20.",
        "- The kept weights were fitted once more.",
        "- 12 texts stand twice.",
        "```sh\nmedbench train --task literature\n```",
        "| Peak memory | 1.5 GB |",
        "| Options | C=1.0 |",
    ):
        assert fact in text, fact
    assert "log_loss" not in text


def test_a_bare_card_is_still_a_card() -> None:
    text = reports.model_card_markdown({"id": "m"})
    assert text.startswith("# m\n")
    assert reports.NOTICE in text
    assert "## Metrics" not in text
