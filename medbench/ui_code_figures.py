"""How an ICD model did on the notes it was judged on: full codes, three characters, by chapter, by frequency."""

from __future__ import annotations

from typing import Any

import streamlit as st

from medbench import ui

_NAMES = {
    "micro_f1": "Micro-F1",
    "micro_precision": "Micro precision",
    "micro_recall": "Micro recall",
    "p_at_8": "Precision at 8",
    "p_at_15": "Precision at 15",
    "r_at_8": "Recall at 8",
    "r_at_15": "Recall at 15",
    "map": "Mean average precision",
    "exact_match": "All codes right",
}


def draw(card: dict[str, Any]) -> None:
    """Draw the figures of the codes that a card holds."""
    import pandas as pd

    codes = card["codes"]
    st.markdown("**Codes**")
    rows = [
        {
            "figure": words,
            "full code": codes["full"][name]["value"],
            "95 % interval": _interval(codes["full"][name]),
            "three characters": codes["category"][name]["value"],
            "95 % interval ": _interval(codes["category"][name]),
        }
        for name, words in _NAMES.items()
        if name in codes["full"]
    ]
    _table(pd.DataFrame(rows), "codes", ("full code", "three characters"))
    st.caption("Three characters: E11.9 and E11.65 both count as E11. At 8: among the eight most probable codes.")
    if evidence := codes.get("evidence"):
        _evidence(evidence)
    for part, words in (("frequency", "By how often training saw the code"), ("chapters", "By chapter")):
        frame = pd.DataFrame(
            [
                {
                    "codes": row["name"],
                    "different": row["codes"],
                    "in notes": row["n"],
                    "precision": row["precision"],
                    "recall": row["recall"],
                    "F1": row["f1"],
                }
                for row in codes[part]
            ]
        )
        if len(frame):
            st.markdown(f"**{words}**")
            _table(frame, part, ("precision", "recall", "F1"))


def _evidence(found: dict[str, Any]) -> None:
    """Draw how far the words the model shows agree with those that annotators marked."""
    st.markdown("**Evidence**")
    overlap, touching = found["overlap"], found["touching"]
    ui.facts({"Overlap with the annotators' words": ui.with_interval(overlap), "Touches them": ui.share(touching)})
    st.caption(
        f"Of {ui.count_of(found['n'], 'code')} that it decided for rightly and annotators marked words for. "
        "Overlap: characters in both of those in either. Touches: at least one character in both."
    )


def _interval(figure: dict[str, Any]) -> str:
    return "" if figure["low"] is None else f"{figure['low']:.3f} to {figure['high']:.3f}"


def _table(frame: Any, name: str, shares: tuple[str, ...]) -> None:
    st.dataframe(
        frame,
        hide_index=True,
        key=f"train_code_{name}",
        height=min(38 + 35 * len(frame), 420),
        column_config={share: st.column_config.NumberColumn(share, format="%.3f") for share in shares},
    )
    ui.export(frame, name, f"train_code_{name}")
