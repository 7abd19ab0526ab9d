"""A lesion model judged: each class, malignant or benign, curves, an operating point to set, groups of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import lesion_judged, ui
from medbench.binary_figures import FEWEST
from medbench.errors import MedbenchError
from medbench.lesion_figures import LesionFigures, Subgroup
from medbench.lesion_judged import JudgedLesions
from medbench.lesion_points import OperatingPoint
from medbench.records import Metric
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import altair
    import pandas as pd

PREVALENCE = {"mel": 2.0}
_USUAL_PREVALENCE = 5.0
_BY_PROBABILITY, _BY_SPECIFICITY = "Probability", "Specificity"
_ESTIMATING = "Estimating the skin tone around the lesions…"
ABOUT_TONES = (
    "Skin tone: the individual typology angle (ITA) of the skin around the lesion, very light above 55°, light 41–55°, "
    "intermediate 28–41°, tan 10–28°, brown −30–10°, dark below. Under a dermatoscope's light this is a rough "
    "estimate: it sorts pictures, not people."
)


def draw_judged(workspace: Workspace, card: dict[str, Any]) -> None:
    """Draw what the test pictures say about a lesion model; a sentence when they are not here."""
    try:
        judged = lesion_judged.load(workspace, str(card["id"]))
    except MedbenchError as error:
        st.caption(str(error))
        return
    names = {label: str(card.get("label_names", {}).get(label, label)) for label in judged.labels}
    judged = _toned(str(card["id"]), judged)
    figures, groups = _computed(str(card["id"]), judged.toned, judged)
    _malignant(figures)
    classes, drawn, confusion, point, patients = st.tabs(
        ["Classes", "Curves", "Confusions", "Operating point", "Groups of patients"]
    )
    with classes:
        _classes(figures, names)
    with drawn:
        _curves(judged, names)
    with confusion:
        _confusion(figures, names)
    with point:
        _operating_point(judged, names)
    with patients:
        _groups(groups)
        _offer_tones(judged)


@st.cache_data(show_spinner="Computing intervals…", max_entries=4)
def _computed(model: str, toned: bool, _judged: JudgedLesions) -> tuple[LesionFigures, list[Subgroup]]:
    return _judged.figures(), _judged.subgroups()


def _toned(model: str, judged: JudgedLesions) -> JudgedLesions:
    """Return it with skin tones: those of the training, or estimated now, under a bar, when a reader has asked."""
    if judged.toned or not st.session_state.get("lesion_judged_tones"):
        return judged
    kept: dict[str, list[float]] = st.session_state.setdefault("lesion_tones", {})
    if model not in kept:
        bar = st.progress(0.0, _ESTIMATING)
        kept[model] = lesion_judged.tones(judged.items, lambda share: _tell(bar, share)).tolist()
        bar.empty()
    return judged.with_tones(kept[model])


def _tell(bar: st.delta_generator.DeltaGenerator, share: float) -> None:
    bar.progress(min(share, 1.0), _ESTIMATING)


def _offer_tones(judged: JudgedLesions) -> None:
    if judged.toned:
        st.caption(ABOUT_TONES)
    else:
        st.checkbox(
            f"Estimate the skin tone in {ui.count_of(len(judged.items), 'picture')} as well",
            key="lesion_judged_tones",
            help="Some ten seconds for a thousand pictures. A model trained from now on has it stored.",
        )


def _malignant(figures: LesionFigures) -> None:
    view = figures.malignant
    if view is None:
        return
    ui.facts(
        {
            "Malignant found (sensitivity)": _interval(view.sensitivity),
            "Benign left alone (specificity)": _interval(view.specificity),
            "Malignant against benign, AUC": _interval(view.auc),
        }
    )
    st.caption(
        "Malignant: melanoma, basal and squamous cell carcinoma, actinic keratosis / Bowen's disease. 95 % intervals "
        "by lesion."
    )


def _interval(metric: Metric | None) -> str:
    return "–" if metric is None else ui.with_interval({"value": metric.value, "low": metric.low, "high": metric.high})


def _questions(judged: JudgedLesions, names: dict[str, str], key: str) -> str:
    asked = ["malignant", *judged.labels] if "malignant" not in judged.labels else list(judged.labels)
    usable = [label for label in asked if 0 < int(judged.question(label)[0].sum()) < len(judged.truth)]
    chosen: str = st.selectbox(
        "Class",
        usable,
        format_func=lambda label: names.get(label, "Malignant, all together"),
        key=key,
        help="The class that is told from all others.",
    )
    return chosen


def _classes(figures: LesionFigures, names: dict[str, str]) -> None:
    import pandas as pd

    entries = [*([figures.malignant] if figures.malignant else []), *figures.classes]
    frame = pd.DataFrame(
        [
            {
                "class": names.get(one.name, "Malignant, all together"),
                "pictures": one.positives,
                "sensitivity": _interval(one.sensitivity),
                "specificity": _interval(one.specificity),
                "precision": _interval(one.precision),
                "F1": _interval(one.f1),
                "AUC": _interval(one.auc),
                "average precision": _interval(one.average_precision),
            }
            for one in entries
        ]
    )
    st.caption(
        "Each class against all others, as the model decides. In brackets the 95 % interval, by lesion; F1 and areas "
        f"have none where fewer than {FEWEST} lesions are of the class."
    )
    st.dataframe(frame, hide_index=True, key="lesion_judged_classes")
    ui.export(frame, "classes", "lesion_judged_classes_export")


def _curves(judged: JudgedLesions, names: dict[str, str]) -> None:
    import pandas as pd

    found = judged.curves(_questions(judged, names, "lesion_judged_curve"))
    roc = pd.DataFrame({"x": found.false_positive, "y": found.sensitivity})
    precise = pd.DataFrame({"x": found.recall, "y": found.precision})
    left, right = st.columns(2)
    left.altair_chart(_line(roc, "1 - specificity", "sensitivity", "ROC curve"), key="lesion_judged_roc")
    right.altair_chart(_line(precise, "recall", "precision", "Precision and recall"), key="lesion_judged_pr")


def _line(frame: pd.DataFrame, x: str, y: str, title: str) -> altair.Chart:
    import altair

    drawn: altair.Chart = (
        altair.Chart(frame.iloc[:: max(1, len(frame) // 400)], title=title, height=260)
        .mark_line(interpolate="linear")
        .encode(
            x=altair.X("x:Q", title=x, scale=altair.Scale(domain=[0, 1])),
            y=altair.Y("y:Q", title=y, scale=altair.Scale(domain=[0, 1])),
            order="x:Q",
        )
    )
    return drawn


def _confusion(figures: LesionFigures, names: dict[str, str]) -> None:
    import pandas as pd

    shown = [names[label] for label in figures.labels]
    frame = pd.DataFrame(figures.confusion, index=shown, columns=shown)
    st.caption("Rows: the true diagnosis. Columns: what the model decided. Pictures.")
    st.dataframe(frame, key="lesion_judged_confusion")
    ui.export(frame.reset_index(names="true diagnosis"), "confusions", "lesion_judged_confusion_export")


def _operating_point(judged: JudgedLesions, names: dict[str, str]) -> None:
    label = _questions(judged, names, "lesion_judged_label")
    left, right = st.columns(2)
    wanted = left.segmented_control(
        "Set",
        [_BY_PROBABILITY, _BY_SPECIFICITY],
        default=_BY_PROBABILITY,
        required=True,
        key="lesion_judged_set",
        help="The probability from which on to biopsy, or the share of the other lesions that must be left alone.",
    )
    prevalence = right.number_input(
        "How many of 1,000 lesions have it",
        0.1,
        1000.0,
        10 * PREVALENCE.get(label, _USUAL_PREVALENCE),
        key=f"lesion_judged_prevalence_{label}",
        help="In your clinic. Test sets hold many more than clinics see.",
    )
    if wanted == _BY_PROBABILITY:
        threshold = 0.01 * st.slider(
            "Biopsy from this probability on, %",
            0.5,
            99.0,
            10.0,
            0.5,
            key="lesion_judged_threshold",
            help="Calibrated.",
        )
    else:
        spared = st.slider(
            "Others left alone, at least, %",
            50.0,
            99.5,
            90.0,
            0.5,
            key="lesion_judged_specificity",
            help="The specificity; of the thresholds that keep it, the one that finds most is taken.",
        )
        threshold = judged.threshold_for(label, spared / 100)
        at = "only at no biopsy at all" if threshold > 1 else f"biopsy from a probability of {100 * threshold:.1f} % on"
        st.caption(f"Reached so: {at}.")
    _draw_point(judged.operating_point(label, threshold, prevalence / 1000))


def _draw_point(point: OperatingPoint) -> None:
    each = "–" if point.biopsies_per_found is None else _counted(point.biopsies_per_found, 1)
    ui.facts(
        {
            "Missed of 1,000 lesions": _counted(point.missed, 1),
            "Biopsies of 1,000 lesions": _counted(point.biopsies, 0),
            "Biopsies for each one found": each,
            "Sensitivity": _interval(point.sensitivity),
            "Specificity": _interval(point.specificity),
        }
    )
    st.caption(
        f"From {ui.count_of(point.sensitivity.n, 'picture')} with it and {ui.count_of(point.specificity.n, 'other')}. "
        "Chosen while looking at these very pictures, a threshold flatters; a clinic's pictures may differ as well."
    )


def _counted(metric: Metric, digits: int) -> str:
    interval = "" if metric.low is None else f" ({metric.low:.{digits}f}–{metric.high:.{digits}f})"
    return f"{metric.value:.{digits}f}{interval}"


def _groups(groups: list[Subgroup]) -> None:
    import pandas as pd

    if not groups:
        st.caption("No age, sex or site is known of these pictures.")
        return
    frame = pd.DataFrame(
        [
            {
                "group": f"{one.fact}: {one.value}",
                "pictures": one.n,
                "balanced accuracy": _interval(one.balanced_accuracy),
                "AUC": _interval(one.auc),
                "malignant found": _interval(one.malignant.sensitivity if one.malignant else None),
            }
            for one in groups
        ]
    )
    st.caption("Wide intervals mean few pictures; differences inside them say nothing.")
    st.dataframe(frame, hide_index=True, key="lesion_judged_groups")
    ui.export(frame, "groups", "lesion_judged_groups_export")
