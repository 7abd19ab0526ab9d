"""The curves of a run report: their numbers by hand and by scikit-learn, and that they reach the page and the paper."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from pypdf import PdfReader
from sklearn import metrics as peer

from medbench import comparing_figures, comparing_judged, report_curves, run_report, squares
from medbench.comparing_judged import Answered
from medbench.report_sheet import Sheet
from medbench.slices import steps_over_pairs
from medbench.squares import Line, Square
from medbench.workspace import Workspace


@pytest.fixture
def model(trained: tuple[Workspace, str]) -> Answered:
    return comparing_judged.answered(*trained)


def test_steps_over_pairs_by_hand() -> None:
    truth = np.array([[True, False], [False, True], [True, False]])
    prob = np.array([[0.9, 0.8], [0.5, 0.5], [0.2, 0.1]])
    # True pairs at .9, .5, .2; false ones at .8, .5 (as high as the second), .1 (below all).
    true, above, false = steps_over_pairs(truth, prob)
    assert (true.tolist(), above.tolist(), false.tolist()) == ([1, 2, 3], [0, 1, 2], [0, 2, 2])


def test_pooled_and_single_areas_are_those_of_a_peer(trained: tuple[Workspace, str], model: Answered) -> None:
    draw = np.random.default_rng(0)
    doubtful = replace(model, probabilities=draw.random(model.truth.shape).round(2).astype(np.float32))
    found = report_curves.curves(trained[0], doubtful)
    pooled, *rows = found.rows
    truth, prob = model.truth, doubtful.probabilities
    assert float(pooled[2]) == pytest.approx(peer.roc_auc_score(truth.ravel(), prob.ravel()), abs=6e-4)
    assert float(pooled[3]) == pytest.approx(peer.average_precision_score(truth.ravel(), prob.ravel()), abs=6e-4)
    assert [row[0] for row in rows] == [model.labels[at] for at in np.argsort(-truth.sum(axis=0), kind="stable")]
    at = model.labels.index(rows[0][0])
    assert rows[0][2].startswith(f"{peer.roc_auc_score(truth[:, at], prob[:, at]):.3f} [")
    roc, precise = found.squares
    assert [len(one.lines) for one in (roc, precise)] == [len(rows) + 1] * 2
    for line in roc.lines:
        assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)
        assert np.trapezoid(line.y, line.x) == pytest.approx(float(line.name.split()[0]), abs=0.003)


def test_of_many_labels_the_most_frequent_are_drawn(trained: tuple[Workspace, str], model: Answered) -> None:
    labels = [f"L{at}" for at in range(20)]
    draw = np.random.default_rng(1)
    truth = draw.random((len(model.truth), 20)) < np.linspace(0.02, 0.6, 20)
    card = {**model.card, "labels": labels, "label_names": {"L19": "the last"}}
    wide = Answered(
        model.id, model.name, card, "test", model.positions, draw.random(truth.shape).astype(np.float32), truth, truth,
        np.zeros((0, 3)),
    )  # fmt: skip
    found = report_curves.curves(trained[0], wide)
    assert len(found.rows) == 1 + report_curves.LABELS_MOST and found.rows[1][0] == "the last"
    assert "the 7 labels that most items carry" in found.text
    assert [line.name for line in found.reliability.lines] == ["after calibration"]


def test_claims_are_drawn_before_and_after_calibration(trained: tuple[Workspace, str], model: Answered) -> None:
    before, after = report_curves.curves(trained[0], model).reliability.lines
    assert (before.name, after.name, before.dotted, after.dotted) == (
        "before calibration", "after calibration", True, False
    )  # fmt: skip
    kept = model.raw_reliability[:, 2] >= comparing_figures.FEWEST_PAIRS
    assert list(before.x) == model.raw_reliability[kept, 0].tolist()


def test_a_long_curve_keeps_its_ends_and_its_shape() -> None:
    x = np.linspace(0, 1, 5000) ** 8
    across, up = squares.thinned(x, x**0.125)
    assert len(across) <= squares.POINTS and (across[0], up[0], across[-1], up[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(up, across) == pytest.approx(np.trapezoid(x**0.125, x), abs=0.002)
    assert squares.thinned([0, 1], [1, 0]) == ([0, 1], [1, 0])


def test_a_plot_is_drawn_where_its_points_are() -> None:
    plot = Square("Up & down", "x", "y", [Line("<b>", [0, 1], [0, 0.5], "#0072B2", marks=True)], (0, 1))
    told = squares.as_svg(plot)
    assert "Up &amp; down" in told and "&lt;b&gt;" in told and "<b>" not in told
    points = [tuple(map(float, pair)) for pair in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', told)]
    (x0, y0), (x1, y1) = points
    assert x1 - x0 == pytest.approx(2 * (y0 - y1))  # half as far up as across
    sheet = Sheet("foot")
    sheet.heading("Plots", [plot, plot, plot])
    sheet.squares([plot, plot, plot])
    (page,) = PdfReader(io.BytesIO(sheet.done())).pages
    assert page.extract_text().count("Up & down") == 3


def test_page_and_paper_show_the_curves(trained: tuple[Workspace, str], model: Answered) -> None:
    page = run_report.as_html(*trained).decode()
    paper = " ".join(one.extract_text() for one in PdfReader(io.BytesIO(run_report.as_pdf(*trained))).pages)
    assert page.count("<svg") == 3
    for words in ("Curves", "Precision and recall", "all together", "Claimed and true shares", "before calibration"):
        assert words in page and words in paper, words
    assert all(label in page for label in model.labels)
