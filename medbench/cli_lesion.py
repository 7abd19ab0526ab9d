"""`medbench explain` for models of pictures: one photograph read whole, its heat map as a picture or a PDF report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medbench.cli_runs import interval
from medbench.errors import MedbenchError
from medbench.records import Metric
from medbench.workspace import Workspace

OPACITY = 0.45
Fact = Annotated[str, typer.Option(help="Of the patient: age in years, male or female, where on the body.")]


def explain_picture(
    model: str, path: Path, out: Path | None, label: str, method: str, told: dict[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Read one photograph of a lesion; return all that is said of it, JSON-ready and in lines.

    Raises:
        MedbenchError: The picture, the model, the label, the method or a fact of the patient does not fit.
    """
    from medbench import heat_check, lesion_heat, lesion_reading, predicting
    from medbench.job_answers import Turn
    from medbench.lesion_history import keep
    from medbench.lesion_reading import Picture
    from medbench.lesion_report import Told
    from medbench.picture_facts import clean_fact

    if out is not None and out.suffix.lower() not in (".png", ".pdf"):
        raise MedbenchError("an output file that ends in .png or .pdf", repr(out.name), "Name it lesion.png.")
    workspace = Workspace.here()
    loaded = predicting.load_for(workspace, model, "image")
    facts = {name: cleaned for name, value in told.items() if (cleaned := clean_fact(name, value))}
    picture = Picture(path, path.name, facts)
    reading = lesion_reading.read_picture(workspace, loaded, path, facts)
    label = label or reading.prediction.labels[0].label
    explanation = lesion_heat.show_heat(loaded, picture.item, label, method)
    heat = lesion_heat.heat_of(explanation)
    trust = lesion_heat.judge_heat(loaded, picture.item, label, heat, explanation.method)
    check = heat_check.told(loaded, explanation.method)
    keep(workspace, Turn(loaded.id), [picture], [reading])
    sentences = [trust.sentence, *([check.sentence] if check else [])]
    lines = [
        f"{score.probability:.2f} ± {reading.spread.get(score.label, 0):.2f}  {score.name}"
        for score in _ranked(reading)
    ]
    lines += [*lesion_reading.to_mind(loaded, reading), *lesion_reading.to_know(loaded, reading)]
    lines += [
        f"{explanation.method} for {loaded.name_of(label)}. {sentence}" for sentence in sentences[:1]
    ] + sentences[1:]
    lines += [
        f"{one.id}: {', '.join(map(loaded.name_of, one.labels))}{one.how}, {one.words} ({one.similarity:.2f})."
        for one in reading.similar
    ]
    lines += [reading.similar_note] if reading.similar_note else []
    if out is not None:
        one = Told(loaded, reading, explanation.method, label, heat, trust, check)
        _write(out, picture, one, sentences)
        lines.append(str(out))
    about = {"label": label, "method": explanation.method, "trust": sentences[0], "out": str(out) if out else None}
    randomised = check.as_json() if check else None
    return {**reading.as_json(), "heat": {**about, "randomised": randomised}}, lines


def _ranked(reading: Any) -> list[Any]:
    return sorted(reading.prediction.labels, key=lambda score: -score.probability)


def _write(out: Path, picture: Any, told: Any, sentences: list[str]) -> None:
    import textwrap

    from medbench import lesion_overlay
    from medbench.lesion_report import lesion_pdf
    from medbench.pictures import open_picture
    from medbench.reports import NOTICE

    if out.suffix.lower() == ".pdf":
        out.write_bytes(lesion_pdf(picture, [told]))
        return
    title = f"{picture.name}: {told.method} for {told.loaded.name_of(told.label)}, by {told.loaded.card['name']}"
    lines = [title, *(line for sentence in sentences for line in textwrap.wrap(sentence, 120)), NOTICE]
    sheet = lesion_overlay.sheet(open_picture(picture.path, picture.name), [told.heat], OPACITY, lines)
    out.write_bytes(lesion_overlay.png_bytes(sheet))


def lesion_lines(lesion: dict[str, Any] | None) -> list[str]:
    """Return sensitivity and specificity of malignant against benign and of every class, with their intervals."""
    if not lesion:
        return []
    entries = [*([lesion["malignant"]] if lesion["malignant"] else []), *lesion["classes"]]
    lines = [f"{'':18} {'pictures':>8}  {'sensitivity':26}specificity"]
    for entry in entries:
        shares = (Metric(**entry[name]) if entry[name] else None for name in ("sensitivity", "specificity"))
        told = [interval(share) if share else "–" for share in shares]
        lines.append(f"{entry['name']:18} {entry['positives']:>8}  {told[0]:26}{told[1]}")
    return lines
