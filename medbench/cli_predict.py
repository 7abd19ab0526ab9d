"""The part of the command line that answers: for a file of records, for one text or document, and for an export."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medbench.cli_runs import Cluster, Column, Json, give, note, picked, told
from medbench.errors import MedbenchError
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from medbench.codes import Version
    from medbench.coding import CodedNote
    from medbench.note_files import NoteFile
    from medbench.records import Prediction

SHOWN_LABELS = 15
REFUSED_SHOWN = 20
DICTIONARY = "dictionary"
"""What stands in the place of a model's id when the code tables alone are to answer."""

ModelId = Annotated[
    str, typer.Argument(help="Model id (see: medbench models), @job, or dictionary: codes without a model.")
]
File = Annotated[Path | None, typer.Argument(help="The file to label; a zip or folder of pictures for lesion models.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "--output", help="Where the labelled file goes; its ending may ask for another format."),
]
Served = Annotated[bool, typer.Option("--use-litellm", help="Ask a served model (--endpoint, --model), untrained.")]
Address = Annotated[str, typer.Option("--endpoint", metavar="URL", help="Base address of an OpenAI-compatible server.")]
ServedName = Annotated[str, typer.Option("--model", metavar="NAME", help="What the server calls the model.")]
Choices = Annotated[str, typer.Option(help="Labels to choose from, with semicolons; codes when empty.")]
Remote = Annotated[bool, typer.Option("--allow-remote", help="Let the text leave this computer.")]
KeyName = Annotated[str, typer.Option(metavar="NAME", help="Environment variable with the server's key.")]
Wait = Annotated[float, typer.Option(help="Longest wait for the served model's answer, in seconds.")]


def predict(
    model: ModelId = "",
    file: File = None,
    out: Out = None,
    title: Column = None,
    abstract: Column = None,
    text: Annotated[str | None, typer.Option(help="Column of the full text; without a FILE, the text itself.")] = None,
    pdf: Annotated[Path | None, typer.Option(help="One document, PDF or text, instead of a file of records.")] = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="COL", help="Column of the item's own id.")] = None,
    use_litellm: Served = False,
    endpoint: Address = "http://127.0.0.1:8000/v1",
    served_model: ServedName = "local",
    labels: Choices = "",
    allow_remote: Remote = False,
    key_variable: KeyName = "",
    timeout: Wait = 60.0,
    codes: Annotated[str, typer.Option(help="The dictionary's table, icd10cm or icd9cm; empty: the model's.")] = "",
    cluster: Cluster = "",
    as_json: Json = False,
) -> None:
    """Label a file and write it back with labels, probabilities, flags and the model's id.

    A second call after a kill goes on where the first one stopped. For example:

      medbench predict starter-literature-domains search.nbib --out labelled.nbib

      medbench predict starter-lesion photographs.zip --out answers.csv

      medbench predict starter-literature-domains --text "Statins after myocardial infarction ..."

      medbench predict dictionary --pdf letter.pdf --output codes.json

      medbench predict dictionary --codes icd9cm --text "Essential hypertension, no fever"

      medbench predict --use-litellm --endpoint http://127.0.0.1:8000/v1 --model NAME --text "Lobar pneumonia ..."
    """
    with told(as_json):
        if use_litellm:
            asked = {"address": endpoint, "model": served_model, "allow_remote": allow_remote, "timeout": timeout}
            _predict_served(model, {**asked, "key_variable": key_variable}, labels, _given(text, pdf)[0], out, as_json)
            return
        if not model:
            raise MedbenchError("the id of a model", "none", "Name one; see: medbench models.")
        if file is None:
            predict_one(model, text, pdf, out, as_json, codes)
            return
        chosen = picked(title=title, abstract=abstract, text=text, id=id_)
        facts, words = _of_file(model, file, out, chosen, as_json, cluster)
    give(facts, as_json, lambda: words)


def _of_file(
    model: str, file: Path, out: Path | None, chosen: dict[str, str], as_json: bool, cluster: str
) -> tuple[dict[str, Any], str]:
    """Answer for a file of records or for pictures; return the facts and their wording."""
    from medbench import picture_batches

    if out is None:
        raise MedbenchError("a place for the labelled file", "none", "Name it with --out FILE.")
    if picture_batches.is_pictures(Workspace.here(), model, file):
        if cluster:
            raise MedbenchError("a file of texts for a cluster", f"pictures in {file.name!r}", "Leave --cluster out.")
        return _pictured(model, file, out, as_json)
    facts = _labelled(model, file, out, chosen, as_json, cluster)
    words = f"{facts['answered']:,} records labelled, {facts['refused']:,} refused: {out}"
    return facts, "\n".join([words, *facts["stands"]])


def _pictured(model: str, file: Path, out: Path, as_json: bool) -> tuple[dict[str, Any], str]:
    """Answer for pictures; return the facts and their wording."""
    from medbench import picture_batches

    tell = None if as_json else _pictures
    given = picture_batches.predict_pictures(Workspace.here(), model, file, out, tell, _unseen)
    facts = {"out": str(out), "model": model, "answered": given.answered, "refused": given.refused}
    facts |= {"resumed_from": given.resumed, "stands": list(given.stands)}
    words = f"{given.answered:,} pictures answered, {len(given.refused):,} refused: {out}"
    why = [f"{name}: {reason}" for name, reason in given.refused[:REFUSED_SHOWN]]
    why += ["… and more; the column “problem” says it of each."] * (len(given.refused) > REFUSED_SHOWN)
    return facts, "\n".join([words, *why, *given.stands])


def _labelled(model: str, file: Path, out: Path, chosen: dict[str, str], as_json: bool, cluster: str) -> dict[str, Any]:
    """Label a file of records, here or on a cluster, going on where an earlier call was killed."""
    from medbench import batch_history, batches, partial_folders
    from medbench.cluster import answering

    tell = None if as_json else lambda done, total: note(f"{done:,} records answered")
    here = Workspace.here()
    with partial_folders.folder_beside(out, file) as folder:
        turn = batch_history.turn(here, model, file)
        batch = batches.open_batch(here, turn.model, file, chosen=chosen, folder=folder, job=turn.alias)
        asked = batches.format_for(out, batch)
        with answering(batch.loaded, cluster) if cluster else nullcontext() as by:
            batch.run(tell, by=by)
        batch.write(folder / out.name, format=asked).replace(out)
        if turn.job is not None:
            batch_history.record(here, batch, turn)
            _unseen(turn.alias)
            for _ in batch_history.answer_unseen(here, batch, turn.job):
                pass
        return {
            "out": str(out),
            "model": model,
            "answered_by": batch.loaded.id,
            "answered": batch.done,
            "refused": batch.account.refused,
            "resumed_from": batch.resumed * batch.chunk,
            "stands": batch.stands(),
        }


def _unseen(alias: str) -> None:
    """Say why the command is not over although the answers are written: a challenger in the shadow still answers."""
    from medbench import aliases, shadowing

    if shadowing.seen(aliases.get_whole(Workspace.here(), alias)):
        note(f"The answers are written. The challenger of {alias} now answers the same items, unseen.")


def _pictures(done: int, total: int) -> None:
    note(f"{done:,} of {total:,} pictures done")


def predict_one(
    model: str, text: str | None, pdf: Path | None, out: Path | None, as_json: bool, codes: str = ""
) -> None:
    """Answer for a text or a document and print it, or write it as JSON to `out`.

    A model for ICD codes, and the dictionary, give codes with their words in the note; any other model gives labels.

    Raises:
        MedbenchError: Text and document are both given or both lacking, or cannot be read, the model is unfit, or the
            dictionary cannot code in this table.
    """
    from medbench import coding_jobs, predicting

    given, name = _given(text, pdf)
    workspace = Workspace.here()
    if model == DICTIONARY or predicting.load_for(workspace, model, "text").card["task"] == "icd":
        asked = "" if model == DICTIONARY else model
        note_said = coding_jobs.code(workspace, given.text, asked, version=_table(codes))
        found = note_said.as_json()
        lines = _code_lines(note_said)
    else:
        answer = _labels(workspace, model, name, given.text)
        found = answer.as_json()
        lines = _label_lines(answer)
    _handed_over(found, lines, given, out, as_json)


def _predict_served(
    model: str, options: dict[str, Any], labels: str, given: NoteFile, out: Path | None, as_json: bool
) -> None:
    """Ask a served model about a text or a document, and print or write what it says."""
    from medbench import served

    if model:
        raise MedbenchError("either a model of medbench or a served one", f"both ({model!r})", "Leave one of them out.")
    choices = [label.strip() for label in labels.split(";") if label.strip()]
    answer = served.ask(given.text, options, choices)
    _handed_over(answer.as_json(), answer.lines(), given, out, as_json)


def _handed_over(found: dict[str, Any], lines: list[str], given: NoteFile, out: Path | None, as_json: bool) -> None:
    """Print an answer about one document, or write it as JSON to `out`."""
    from medbench import shadowing

    found = {**found, "remarks": [*given.remarks, *found.get("remarks", ())]}
    if out is not None:
        out.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
        note(f"Written to {out}.")
    if out is None or as_json:
        give(found, as_json, lambda: "\n".join([*lines, *given.remarks]))
    shadowing.finish()  # after the answer: a challenger may still be at it


def _table(codes: str) -> Version | None:
    from medbench.coding import DICTIONARIES

    found = next((version for version in DICTIONARIES if version == codes), None)
    if codes and found is None:
        raise MedbenchError(f"one of the tables {', '.join(DICTIONARIES)}", repr(codes), "Choose one with --codes.")
    return found


def _given(text: str | None, pdf: Path | None) -> tuple[NoteFile, str]:
    """Return what is to be answered, and what to call it."""
    from medbench.note_files import NoteFile, note_of

    if text is not None and pdf is None:
        return NoteFile(text), "text"
    if pdf is None or text is not None:
        found = "neither" if text is None else "both"
        raise MedbenchError('--text "WORDS" or --pdf FILE', found, 'Give one: medbench predict MODEL --text "..."')
    if not pdf.is_file():
        raise MedbenchError("a PDF or text file", f"no file {str(pdf)!r}", "Check the path.")
    return note_of(pdf.name, pdf.read_bytes()), pdf.name


def _labels(workspace: Workspace, model: str, name: str, text: str) -> Prediction:
    from medbench import aliases, job_answers, predicting
    from medbench.records import Item

    items = [Item(name, "", text)]
    if model.startswith(aliases.SIGN):
        answer = job_answers.answer(workspace, model, items)[0][0]
    else:
        answer = predicting.predict(predicting.load_for(workspace, model, "text"), items)[0]
    if answer.problem:
        raise MedbenchError("a text with words", answer.problem, "Give another.")
    return answer


def _label_lines(answer: Prediction) -> list[str]:
    chosen = [score for score in answer.labels if score.chosen]
    lines = [f"{score.label}  {score.probability:.2f}  {score.name}" for score in chosen[:SHOWN_LABELS]]
    lines += [f"{score.probability:.2f}  {score.name} (group)" for score in answer.groups if score.chosen]
    lines += [] if chosen else ["No label is probable enough. The likeliest:"]
    lines += [] if chosen else [f"{s.label}  {s.probability:.2f}  {s.name}" for s in answer.labels[:3]]
    lines += [f"{answer.cut:.0%} of the text was beyond what the model reads."] if answer.cut else []
    lines += [f"The text is unlike what the model learnt from. {answer.strange}".strip()] if answer.unlike else []
    lines += [f"A person should read this text: {answer.why}."] if answer.needs_human else []
    names = {score.label: score.name for score in answer.labels}
    lines += [f"Set of labels: {', '.join(names[label] for label in answer.conformal)}."] if answer.conformal else []
    lines += [answer.promise] if answer.promise else []
    return [*lines, *answer.behind]


def _code_lines(found: CodedNote) -> list[str]:
    """Word the codes with what supports them, then those set apart, then what has to be known."""
    lines = []
    for one in found.proposals[:SHOWN_LABELS]:
        sure = "" if one.decided else ", below the threshold"
        kind = "match" if one.probability is None else "probability"
        billable = "" if one.code.billable else ", not billable"
        lines.append(f"{one.code.label}  {one.code.text}  ({kind} {one.share:.2f}{sure}{billable})")
        lines.append(f"    {_words(found.text, one.evidence)}")
    hidden = len(found.proposals) - SHOWN_LABELS
    lines += [f"and {hidden} more; --json or --output FILE gives all of them."] if hidden > 0 else []
    lines += [] if found.proposals else ["No code fits this note."]
    if found.apart:
        lines += ["", "Set apart, not to be coded:"]
        for away in found.apart:
            words = found.text[away.evidence.start : away.evidence.end]
            cause = f", because of “{away.evidence.trigger}”" if away.evidence.trigger else ""
            lines.append(f"{away.code.label}  {away.code.text}  ({away.evidence.status}: “{words}”{cause})")
    released = ", ".join(f"{table} {release}" for table, release in found.releases.items())
    human = [f"A person has to code this note: {found.why}."] if found.needs_human and found.why else []
    return [*lines, "", *human, *found.remarks, *found.stands, f"Codes of {released}."]


def _words(text: str, evidence: tuple[Any, ...]) -> str:
    said = dict.fromkeys(" ".join(text[each.start : each.end].split()) for each in evidence)
    return "; ".join(f"“{each}”" for each in said) or "nothing in the note supports it"


def test_export(
    model: Annotated[str, typer.Argument(help="Model id; see: medbench models.")],
    folder: Annotated[Path, typer.Argument(help="The folder that medbench export wrote.")],
    file: Annotated[Path | None, typer.Option(help="Texts, one a line; empty takes 20 of the model's dataset.")] = None,
    as_json: Json = False,
) -> None:
    """Read an exported language model again and compare what it writes with what the model writes.

    For example:

      medbench export MODEL --to gguf --out exports/mine

      medbench test-export MODEL exports/mine
    """
    from medbench import exporting

    with told(as_json):
        lines = file.read_text(encoding="utf-8").splitlines() if file else []
        texts = [line for line in lines if line.strip()]
        found = exporting.try_export(Workspace.here(), model, folder, texts)
    words = f"{found['program']} writes the same on {found['same']} of {found['texts']} texts"
    words += f" and cuts {found['tokens_same']} prompts into the same tokens ({found['format']})."
    differing = [f"  it writes {theirs!r}, the model {ours!r}" for theirs, ours in found["different"]]
    give(found, as_json, lambda: "\n".join([words, *differing]))
    if found["same"] < found["texts"]:
        raise typer.Exit(1)
