"""The pieces pages share: errors in words, numbers people read, text that stays text, tables that are not blank."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from conftest import HUNG
from streamlit.testing.v1 import AppTest

from medbench import ui, ui_grid
from medbench.records import Finding


def drawn(body: Callable[[], None]) -> AppTest:
    return AppTest.from_function(body, default_timeout=HUNG).run()


def test_our_error_is_shown_in_three_parts() -> None:
    def body() -> None:
        from medbench import ui
        from medbench.errors import MedbenchError

        with ui.page("A page"):
            raise MedbenchError("a *table*", "an image 'a.png'", "Drop a table.")

    app = drawn(body)
    assert not app.exception
    assert app.error[0].value == "Expected a \\*table\\*, found an image 'a.png'.  \n**Drop a table.**"


def test_any_other_error_is_one_sentence_and_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def body() -> None:
        from medbench import ui

        with ui.page("A page"):
            raise ZeroDivisionError("secret detail")

    with caplog.at_level(logging.ERROR):
        app = drawn(body)
    assert not app.exception
    assert [error.value for error in app.error] == [
        "Something went wrong on this page. The details are in the log. Reload the page to go on."
    ]
    assert "ZeroDivisionError" in caplog.text


def test_stopping_a_page_is_not_an_error() -> None:
    def body() -> None:
        import streamlit as st

        from medbench import ui

        with ui.page("A page"):
            st.stop()

    app = drawn(body)
    assert not app.error
    assert not app.exception


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (ui.number(1234), "1,234"),
        (ui.number(0.123456), "0.123"),
        (ui.number(1234.5), "1,234"),
        (ui.number(None), "–"),
        (ui.share(0.475), "47.5 %"),
        (ui.share(0.9), "90 %"),
        (ui.share(0.0), "0 %"),
        (ui.share(0.0002), "< 0.1 %"),
        (ui.size(512), "512 B"),
        (ui.size(3_200_000), "3.2 MB"),
        (ui.size(1_400_000_000), "1.4 GB"),
        (ui.duration(0.4), "0.4 s"),
        (ui.duration(130), "2 min 10 s"),
        (ui.duration(3 * 3600 + 300), "3 h 5 min"),
        (ui.score(2 / 3), "0.667"),
        (ui.count_of(1, "row"), "1 row"),
        (ui.count_of(2000, "row"), "2,000 rows"),
        (ui.with_interval({"value": 0.687, "low": 0.67, "high": 0.7}), "0.687 (0.67–0.70)"),
        (ui.with_interval({"value": 0.687}), "0.687"),
        (ui.with_interval(None), "–"),
    ],
)
def test_numbers_read_well(told: str, wanted: str) -> None:
    assert told == wanted


def test_times_are_local_and_leave_this_year_out() -> None:
    assert ui.when(None) == "–"
    assert "2001" in ui.when("2001-05-06T07:08:09+00:00")
    assert ui.when("2001-05-06T07:08:09Z") == ui.when("2001-05-06T07:08:09+00:00")


def test_text_of_users_stays_text() -> None:
    assert ui.chips(["<script>alert(1)</script>"]) == (
        '<span class="mb-chip">&lt;script&gt;alert(1)&lt;/script&gt;</span>'
    )
    assert ui.plain("*a* [b](c) $x$ :red[d] <i>") == r"\*a\* \[b\]\(c\) \$x\$ \:red\[d\] \<i\>"
    line = ui.finding_line(Finding("leak_text", "stop", "3 *rows* stand in two splits."))
    assert line == r"⛔ 3 \*rows\* stand in two splits."


def test_formulas_are_neutralised_and_numbers_are_not() -> None:
    frame = pd.DataFrame({"text": ["=1+1", "-5", "-5 mg", "@x", "plain"], "score": [-1.5, 2, 3, 4, 5]})
    lines = ui.csv_bytes(frame).decode("utf-8-sig").splitlines()
    assert lines == ["text,score", "'=1+1,-1.5", "-5,2.0", "'-5 mg,3.0", "'@x,4.0", "plain,5.0"]
    assert frame["text"][0] == "=1+1"


def test_a_grid_gets_plain_columns() -> None:
    def body() -> None:
        import pandas as pd

        from medbench import ui_grid

        frame = pd.DataFrame(
            {
                "kind": pd.Categorical(["a", "b"]),
                "labels": [["x", "y"], []],
                "name": pd.Series(["n", None], dtype="string"),
                "sure": [True, False],
                "n": pd.Series([1, 2], dtype="int64"),
            }
        )
        ui_grid.grid(frame, "g", selection="one", decimals={"n": 2}, hide=["sure"])

    app = drawn(body)
    assert not app.exception
    made = ui_grid._plain_columns(
        pd.DataFrame({"kind": pd.Categorical(["a", None]), "labels": [["x", "y"], []], "n": np.array([1, 2])})
    )
    assert [str(dtype) for dtype in made.dtypes] == ["object", "object", "int64"]
    assert made.to_dict("list") == {"kind": ["a", ""], "labels": ["x; y", ""], "n": [1, 2]}


def test_a_bar_tells_what_is_left_once_it_takes_long() -> None:
    now = [100.0]
    shown: list[tuple[float, str]] = []

    class Bar:
        def progress(self, share: float, sentence: str) -> None:
            shown.append((share, sentence))

    tell = ui.teller(Bar(), lambda: now[0])  # type: ignore[arg-type]
    for at, share in ((101.0, 0.0), (104.0, 0.2), (108.0, 0.4), (116.0, 0.4), (120.0, 1.0)):
        now[0] = at
        tell(share, "Reading.")
    assert shown == [
        (0.0, "Reading."), (0.2, "Reading."), (0.4, "Reading. About 12 s left."), (0.4, "Reading. About 24 s left."),
        (1.0, "Reading."),
    ]  # fmt: skip
