"""The figures of codes on a run's page."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def _page():
    import numpy as np

    from medbench import code_metrics, ui_code_figures

    labels = ("icd10cm:E11.9", "icd10cm:E11.8", "icd10cm:I10")
    truth = np.array([[1, 0, 1], [0, 1, 0]], dtype=bool)
    prob = np.array([[0.9, 0.8, 0.3], [0.7, 0.2, 0.1]])
    figures = code_metrics.card_figures(
        labels, truth, prob, prob > 0.5, learnt=[3, 0, 40], rng=np.random.default_rng(0), n_boot=20
    )
    ui_code_figures.draw({"codes": figures})


def test_codes_are_shown_in_full_at_three_characters_by_chapter_and_frequency():
    page = AppTest.from_function(_page, default_timeout=60).run()
    assert not page.exception
    full, often, chapters = (frame.value for frame in page.dataframe)
    precision = full.set_index("figure").loc["Micro precision", ["full code", "three characters"]].tolist()
    assert precision == pytest.approx([1 / 3, 2 / 2], abs=1e-4)
    assert often["codes"].tolist() == ["never", "2 to 4 times", "20 times or more"]
    assert chapters["in notes"].tolist() == [2, 1]
