"""The figures of codes on a run's page."""

from __future__ import annotations

import pytest
from conftest import HUNG
from streamlit.testing.v1 import AppTest

from medbench.ui_train_result import label_frame


def _page():
    import numpy as np

    from medbench import code_metrics, ui_code_figures

    labels = ("icd10cm:E11.9", "icd10cm:E11.8", "icd10cm:I10")
    truth = np.array([[1, 0, 1], [0, 1, 0]], dtype=bool)
    prob = np.array([[0.9, 0.8, 0.3], [0.7, 0.2, 0.1]])
    figures = code_metrics.card_figures(
        labels, truth, prob, prob > 0.5, learnt=[3, 0, 40], rng=np.random.default_rng(0), n_boot=20
    )
    overlap = {"value": 0.412, "low": 0.3, "high": 0.5, "n": 12}
    figures["evidence"] = {"overlap": overlap, "touching": 0.75, "n": 12, "of": 30}
    ui_code_figures.draw({"codes": figures})


def test_codes_are_shown_in_full_at_three_characters_by_chapter_and_frequency():
    page = AppTest.from_function(_page, default_timeout=HUNG).run()
    assert not page.exception
    full, often, chapters = (frame.value for frame in page.dataframe)
    precision = full.set_index("figure").loc["Micro precision", ["full code", "three characters"]].tolist()
    assert precision == pytest.approx([1 / 3, 2 / 2], abs=1e-4)
    assert often["codes"].tolist() == ["never", "2 to 4 times", "20 times or more"]
    assert chapters["in notes"].tolist() == [2, 1]
    told = " ".join(str(one.value) for one in [*page.caption, *page.markdown])
    assert "Of 12 codes that it decided for rightly" in told


def _many_labels():
    from medbench import ui_train_result

    rows = [
        {"label": f"icd10cm:E{number}", "n": number, "precision": 0.5, "recall": 0.25, "f1": 1 / 3, "auc": None}
        for number in range(3000)
    ]
    card = {"id": "run", "codes": {}, "label_names": {"icd10cm:E11": "Type 2 diabetes"}, "per_label": rows}
    ui_train_result._per_label(card)


def test_thousands_of_labels_are_paged():
    page = AppTest.from_function(_many_labels, default_timeout=HUNG).run()
    assert not page.exception
    assert not page.dataframe
    assert "Click a heading to sort" in page.caption[0].value


def test_codes_stand_in_a_column_of_their_own():
    figures = {"n": 3, "precision": 0.5, "recall": 0.25, "f1": 1 / 3, "threshold": 0.4}
    card = {"label_names": {"icd10cm:E11": "Type 2 diabetes"}, "per_label": [{"label": "icd10cm:E11", **figures}]}
    assert list(label_frame(card).iloc[0][["label", "items", "F1"]]) == ["Type 2 diabetes", 3, 1 / 3]
    rare = {"label": "rare", **figures, "n": 1}
    assert list(label_frame({**card, "per_label": [rare, *card["per_label"]]})["items"]) == [3, 1]
    (row,) = label_frame({**card, "codes": {}}).to_dict("records")
    assert (row["code"], row["label"], row["threshold"]) == ("E11", "Type 2 diabetes", 0.4)
