"""Whether what is promised beside an answer holds: measured on items that nothing was fitted on.

A conformal set promises to hold the truth this often; an answer that is not sent to a person promises to be right more
often than the rest. The judged items of a run say how often that was so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import human_band
from medbench.calibrators import NAMES, TOGETHER
from medbench.human_band import Band
from medbench.proportions import share_interval, wilson
from medbench.records import AnswerKind, Scores, Truth
from medbench.trust import Trust

MOST_LABELS = 500
"""With more labels nothing is measured: no set of labels is shown then."""
_ENOUGH = 30  # items of a file from which that is said
_FEWER = 0.05  # so much smaller, beyond chance, is the part of a file that stands alone when a sentence says so
_LOW_SHOWN = 4  # labels that sets fell short of, named beside a set


@dataclass(frozen=True, slots=True)
class Share:
    """So many of `n`, with the 95 % interval of Wilson (1927), which stays inside 0-1 and holds for few items."""

    value: float
    low: float
    high: float
    n: int

    def numbers(self) -> dict[str, float | int]:
        """Return it JSON-ready, as a metric stands on a card."""
        return {"value": round(self.value, 5), "low": round(self.low, 5), "high": round(self.high, 5), "n": self.n}


def share(hits: float, n: int) -> Share:
    """Return `hits` of `n` with its interval; `hits` may be a sum of shares, whose interval is then a wide one.

    Raises:
        ValueError: n is 0.
    """
    if n == 0:
        raise ValueError("a share of no items")
    return Share(hits / n, *wilson(hits, n), n)


def measured(
    trust: Trust, probabilities: Scores, truth: Truth, labels: tuple[str, ...], groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what the promises came to on judged items, JSON-ready; empty when there is nothing to measure.

    Args:
        trust: What makes the promises.
        probabilities: (n, L) calibrated, of items that neither the model nor `trust` was fitted on.
        truth: (n, L) bool.
        labels: L names.
        groups: n keys of what belongs together; intervals then rest on as many items as these are worth.

    Returns:
        "sets": the promise, how often it was kept over all ("kept") and for each label ("labels"), labels in a set
        ("mean_size"). "alone": the share of items whose answer itself calls for no person, how many of these have a
        label wrong or missing ("wrong"), and how many of all ("wrong_of_all"). Items unlike the training data, which go
        to a person whatever the answer, are counted as any other.
        The worker adds "strangers", which `foreign.measured` describes.
    """
    n, width = truth.shape
    if n == 0 or width > MOST_LABELS:
        return {}
    found: dict[str, Any] = {}
    sets = trust.conformal_sets(probabilities)
    kin = np.unique(np.asarray(groups), return_inverse=True)[1] if len(groups) else np.arange(n)
    if trust.cutoff is not None and truth.any():
        found["sets"] = _kept(trust, sets, truth, labels, kin)
    wrong = (trust.decide(probabilities) != truth).any(axis=1)
    alone = ~trust.unsure(probabilities)
    found["alone"] = {"share": _share_of(alone, kin), "wrong_of_all": _share_of(wrong, kin)}
    if alone.any():
        found["alone"]["wrong"] = _share_of(wrong[alone], kin[alone])
    if trust.band is not None:
        found["band"] = _of_band(trust, trust.band, probabilities, truth, kin)
    return found


def _of_band(
    trust: Trust, band: Band, probabilities: Scores, truth: Truth, kin: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Return what was promised of answers that no person is asked about, and what their error came to."""
    alone = ~trust.unsure(probabilities)
    wrong = human_band.errors(trust.decide(probabilities), truth, trust.answer)[alone]
    facts = {"promise": band.promise(), "accepted": band.accepted, "confidence": band.confidence}
    found = {**facts, "share": _share_of(alone, kin)}
    return {**found, "error": _share_of(wrong, kin[alone])} if alone.any() else found


def promise(band: Band | None, card: Mapping[str, Any]) -> str:
    """Return, in one line, what stands behind answers that no person is asked about: promised, and measured.

    Args:
        band: The model's band; None for models from before it.
        card: Its card, with what was measured on its test items, if anything was.
    """
    found = card.get("promises", {})
    if band is None:
        wrong = found.get("alone", {}).get("wrong")
        if not wrong:
            return "How often answers that no person checks are wrong was not measured."
        told = f"{_words(wrong)} of {wrong['n']:,} wrong when measured"
        return f"Answers that no person checks: {told}; no limit is promised."
    held = found.get("band", {})
    if "error" not in held or held["accepted"] != band.accepted:
        return band.promise()
    kind = "wrong" if band.answer == "one" else "of labels wrong or missing"
    each = f"{held['share']['value']:.0%} answered alone, {_words(held['error'])} {kind}"
    return f"{band.promise()} Measured on {held['share']['n']:,} test items: {each}."


def beside_a_row(band: Band | None, card: Mapping[str, Any], alone: bool, unlike: bool) -> str:
    """Return what stands behind one row of a table of answers, a few words: what is promised of rows that stand alone.

    Args:
        band: The model's band; None for models from before it.
        card: Its card, with how well it notices foreign items, if that was measured.
        alone: No person is asked about this row.
        unlike: It is unlike the training data.
    """
    if not alone:
        noticed = noticed_words(card) if unlike else ""
        return "for a person" + (
            f"; unlike the training data, which is noticed with an AUROC of {noticed}" if noticed else ""
        )
    if band is None:
        return "stands alone; no limit of error is promised of such rows"
    joint = f", with all {band.among} shares offered" if band.among > 1 else ""
    what = human_band.WHAT[band.answer].format(human_band.percent(band.accepted))
    return f"stands alone; of all such rows {what} ({band.confidence:.0%} confidence{joint})"


def beside_a_file(band: Band | None, card: Mapping[str, Any], alone: int, n: int) -> list[str]:
    """Return what stands behind the answers to a file of n items, one sentence each.

    Args:
        band: The model's band; None for models from before it.
        card: Its card.
        alone: Items that no person is asked about.
        n: Items answered, at least one.
    """
    told = [f"{alone:,} of {n:,} answers ({alone / n:.0%}) stand alone, the others go to a person."]
    if band is not None and n >= _ENOUGH and wilson(alone, n)[1] < band.share - _FEWER:
        told[0] += (
            f" That is fewer than the {band.share:.0%} of the items that the limit was tested on: this file may be of "
            "another kind, and then the promise does not cover it."
        )
    return [*told, promise(band, card)]


def learnt_from(seen: int, looked: int, n: int, what: str = "records") -> list[str]:
    """Return what must be said when a model learnt from items of a file: one sentence, or none.

    Args:
        seen: Items that it learnt from.
        looked: Items that were looked at, the first of the file.
        n: Items of the file.
        what: What they are, in the plural.
    """
    if not seen:
        return []
    first = "" if looked == n else "first "
    return [
        f"The model learnt from {seen:,} of the {first}{looked:,} {what}: its answers to these prove little, and no "
        "promise covers them."
    ]


def sentences(promises: Mapping[str, Any], answer: AnswerKind) -> list[str]:
    """Say in words what `measured` found; nothing for a model that was judged without it."""
    told = []
    if sets := promises.get("sets"):
        promise = "the true label of {} of items" if answer == "one" else "on average {} of an item's true labels"
        told.append(
            f"Sets made to hold {promise.format(format(sets['promised'], '.0%'))} held {_words(sets['kept'])}; "
            f"a set had {sets['mean_size']:.1f} labels on average."
        )
        if short := [row for row in sets["labels"] if row["high"] < sets["promised"]]:
            names = ", ".join(f"{row['label']} ({row['value']:.0%} of {row['n']:,})" for row in short[:6])
            told.append(f"They held these labels less often than promised: {names}.")
    if band := promises.get("band"):
        told.append(band["promise"])
        if "error" in band and answer == "many":
            told.append(f"Of the labels of answers without a person {_words(band['error'])} were wrong or missing.")
    fault = "were wrong" if answer == "one" else "had a label wrong or missing"
    if alone := promises.get("alone"):
        told.append(
            f"The answer itself called for no person in {_words(alone['share'])} of items; "
            + (f"of these answers {_words(alone['wrong'])} {fault}, " if "wrong" in alone else "")
            + f"of all answers {_words(alone['wrong_of_all'])}"
            + ("" if "wrong" in alone else f" {fault}")
            + ". Items flagged as unlike the training data go to a person too; they are counted here as any other."
        )
    if strangers := promises.get("strangers"):
        told.append(" ".join(strangers_lines(strangers)))
    return told


def how_calibrated(facts: Mapping[str, Any]) -> str:
    """Name the way of calibrating and those it was chosen from, by what a card says of its calibration."""
    words, losses, company = _method(facts)
    own = losses.pop(str(facts.get("method", "")), None)
    if own is None:
        return words
    if company is not None:
        words += f", then raised or lowered by the labels that go together (log loss {own:.4f} → {company:.4f})"
    if not losses:
        return words
    others = ", ".join(f"{_name(name)} {loss:.4f}" for name, loss in losses.items())
    return f"{words}, chosen by its cross-fitted log loss {own:.4f}; {others}"


def _method(facts: Mapping[str, Any]) -> tuple[str, dict[str, float], float | None]:
    """Return the method's name, the losses of all that were tried, and the loss with the labels' company, if kept."""
    method, losses = str(facts.get("method", "")), dict(facts.get("losses", {}))
    company = losses.pop(TOGETHER, None)
    kept = company is not None and method in losses and company < losses[method]
    return _name(method) or "method unknown", losses, company if kept else None


def _name(method: str) -> str:
    return NAMES.get(method.partition("_")[0], method)


def calibrated(card: Mapping[str, Any]) -> str:
    """Return how the probabilities of an answer were calibrated and how far they were off, one sentence; "" if unknown.

    The losses of the other methods stand on the model's card (`how_calibrated`).
    """
    facts = card.get("calibration", {})
    if "ece_after" not in facts or "method" not in facts:
        return ""
    words, losses, company = _method(facts)
    chosen = f", chosen from {len(losses)} ways" if len(losses) > 1 else ""
    chosen += ", and then by the labels that go together" if company is not None else ""
    by = "" if facts["method"] == "identity" else "calibrated by "
    how = f"Probabilities are {by}{words}{chosen}"
    before, after = _error(facts.get("ece_before")), _error(facts["ece_after"])
    return f"{how}; expected calibration error {after}" + (f", {before} before." if before else ".")


def _error(value: Any) -> str:
    """Return a calibration error with three decimals; a card may carry it bare or with its interval."""
    bare = value.get("value") if isinstance(value, Mapping) else value
    return "" if bare is None else f"{float(bare):.3f}" if float(bare) >= 0.0005 else "below 0.001"


def behind(trust: Trust, card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what stands behind every answer of a model beside `promise`, one sentence each.

    How its probabilities were calibrated, what its sets of labels hold, and how well it notices what is unlike its
    training data: the same for all answers, so that a program that asked for one of them is told too.
    """
    sets = trust.cutoff is not None and len(trust.thresholds) <= MOST_LABELS
    told = (calibrated(card), f"{set_words(card, trust.coverage)}." if sets else "", beside_unlike(card))
    return tuple(sentence for sentence in told if sentence)


def set_cell(card: Mapping[str, Any], members: Iterable[str]) -> str:
    """Return a conformal set for a table, "C04=0.885;C14=0.963": each label with its measured coverage.

    That is, of the measured items that carry the label, the share whose set held it; a label that was not measured
    stands alone.
    """
    rows = card.get("promises", {}).get("sets", {}).get("labels", ())
    shares = {str(row["label"]): float(row["value"]) for row in rows}
    return ";".join(f"{label}={shares[label]:.3f}" if label in shares else label for label in members)


def why_a_person(band: Band | None, unlike: bool) -> str:
    """Return why an answer goes to a person, half a sentence that stands behind a colon.

    Args:
        band: The model's band; None for models from before it.
        unlike: The item is unlike the training data.
    """
    if band is not None and not band.limit:
        return "for this model no limit of error could be guaranteed, so every answer goes to one"
    if unlike:
        return "it is unlike the training data"
    return "the model is not sure enough of it"


def strangers_lines(strangers: Mapping[str, Any]) -> list[str]:
    """Say how well foreign items were told from a model's own, material by material: what `foreign.measured` found."""
    own = strangers["own"]
    first = (
        f'"Unlike the training data" was tried on items from elsewhere, beside {own["n"]:,} of its own that it had not '
        f"learnt from, {own['value']:.1%} of which it flagged."
    )
    each = (
        f"{one['what'][:1].upper()}{one['what'][1:]}: AUROC {_area(one['auroc'])}, "
        f"{one['flagged']['value']:.0%} of {one['flagged']['n']:,} flagged."
        for one in strangers["foreign"]
    )
    return [first, *each]


def _area(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.2f} ({found['low']:.2f}–{found['high']:.2f})"


def beside_unlike(card: Mapping[str, Any]) -> str:
    """Return what stands behind "unlike the training data", one sentence: the best and the worst case; "" if nothing.

    The full list stands on the model's card.
    """
    words = noticed_words(card)
    start = 'How well "unlike the training data" is noticed, measured (AUROC; 0.5 is chance, 1 is always)'
    return f"{start}: {words}." if words else ""


def noticed_words(card: Mapping[str, Any]) -> str:
    """Return the worst and the best case of noticing foreign items, "0.61 (letters) to 0.98 (a manual)"; "" if none."""
    foreign = card.get("promises", {}).get("strangers", {}).get("foreign", ())
    if not foreign:
        return ""
    order = sorted(foreign, key=lambda one: float(one["auroc"]["value"]))
    ends = [order[0], order[-1]] if len(order) > 1 else order
    return " to ".join(f"{one['auroc']['value']:.2f} ({one['what']})" for one in ends)


def set_words(card: Mapping[str, Any], coverage: float, what: str = "items", held: str = "true label") -> str:
    """Return what a conformal set was made for and what that came to, without the set's labels.

    The promise is one over all items: of the items that get this very set, or carry one label, it may hold far less
    often. So nothing is said of "such items", and the labels for which sets fell short are named.

    Args:
        card: The model's card.
        coverage: What sets were made to hold, 0-1.
        what: What the model answers for, in the plural.
        held: What a set of a model of one label per item holds, in the singular.
    """
    promise = f"the {held} of {coverage:.0%} of all {what}"
    if card.get("answer") != "one":
        promise = f"on average {coverage:.0%} of the true labels of all {what}"
    return f"A set made to hold {promise}{beside_a_set(card)}"


def beside_a_set(card: Mapping[str, Any]) -> str:
    """Return what stands behind the promise of a set, as " (measured: 92% of 1,002; but Melanoma 81% of 111)".

    Labels that sets held less often than promised, beyond chance, are named, the lowest first. "" where nothing is
    known.
    """
    sets = card.get("promises", {}).get("sets")
    if not sets:
        return ""
    names, kept = card.get("label_names", {}), sets["kept"]
    low = sorted((row for row in sets["labels"] if row["high"] < sets["promised"]), key=lambda row: float(row["value"]))
    each = [f"{names.get(row['label'], row['label'])} {row['value']:.0%} of {row['n']:,}" for row in low[:_LOW_SHOWN]]
    more = f" and {len(low) - _LOW_SHOWN} more" if len(low) > _LOW_SHOWN else ""
    but = f"; but {', '.join(each)}{more}" if each else ""
    return f" (measured: {kept['value']:.0%} of {kept['n']:,}{but})"


def _words(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.1%} ({found['low']:.1%}–{found['high']:.1%})"


def _kept(
    trust: Trust, sets: Truth, truth: Truth, labels: tuple[str, ...], kin: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Return how often sets hold the truth: of items with one label, and on average of the labels of an item."""
    carried = truth.sum(axis=1)
    known = carried > 0
    covered = (sets & truth).sum(axis=1)[known] / carried[known]
    each = [
        {"label": label, **_share_of(sets[truth[:, column], column], kin[truth[:, column]])}
        for column, label in enumerate(labels)
        if truth[:, column].any()
    ]
    return {
        "promised": trust.coverage,
        "kept": _share_of(covered, kin[known]),
        "mean_size": round(float(sets.sum(axis=1).mean()), 3),
        "labels": each,
    }


def _share_of(values: npt.NDArray[Any], kin: npt.NDArray[np.int64]) -> dict[str, float | int]:
    low, high = share_interval(values, kin)
    return Share(float(np.mean(values, dtype=np.float64)), low, high, len(values)).numbers()
