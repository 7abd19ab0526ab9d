"""Everything about a run in one place: its card, its report, its checklists, and what is needed to repeat it."""

from __future__ import annotations

import hashlib
import importlib.metadata as metadata
import io
import json
import platform
import shlex
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medbench import checklists, hierarchy, report_errors, reports, run_report
from medbench.aliases import card_of
from medbench.errors import MedbenchError
from medbench.reports import markdown_table
from medbench.workspace import Workspace

_CHUNK = 1 << 20
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the same files make the same zip


def everything(workspace: Workspace, model_id: str) -> dict[str, bytes]:
    """Return file name -> bytes: model card, report as HTML and PDF, checklists, reproduce bundle.

    Raises:
        MedbenchError: There is no such model, or its files are damaged.
    """
    card = card_of(workspace, model_id)
    return {
        "model-card.md": reports.model_card_markdown(card).encode(),
        "report.html": run_report.as_html(workspace, model_id),
        "report.pdf": run_report.as_pdf(workspace, model_id),
        **checklist_files(workspace, card),
        "reproduce.zip": reproduce(workspace, model_id),
    }


def write(workspace: Workspace, model_id: str, folder: Path) -> list[Path]:
    """Write all of it into a folder and return the files; files of the same names are replaced.

    Raises:
        MedbenchError: As `everything`, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise MedbenchError("a folder for the reports", f"the file {str(folder)!r}", "Name another with --to.")
    files = everything(workspace, model_id)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files as one zip; the same files always make the same bytes."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), content, zipfile.ZIP_DEFLATED)
    return held.getvalue()


def checklist_files(workspace: Workspace, card: Mapping[str, Any]) -> dict[str, bytes]:
    """Return file name -> Markdown of each checklist that concerns a model."""
    groups = report_errors.groups_sentence(report_errors.tables(workspace, card))
    found = run_report.checklists_of(workspace, card, groups)
    return {f"{name.lower().replace('+', '-')}.md": _markdown(name, lines).encode() for name, lines in found.items()}


def _markdown(name: str, lines: list[checklists.Line]) -> str:
    rows = [[line.number, line.topic, line.asks, line.shown] for line in lines]
    about = f"Numbers of {checklists.SOURCES[name]}. What each item asks is said in our own words: read the original."
    table = markdown_table(("item", "part", "asks", "answer"), rows)
    return f"# Checklist {name}\n\n{about}\n\n{checklists.summary(lines)}\n\n{table}\n"


def reproduce(workspace: Workspace, model_id: str) -> bytes:
    """Return a zip with what is needed to repeat a run; the data themselves stay where they are.

    run.yaml (the spec), tree.csv (the tree of labels, where there is one), data.json (dataset id, SHA-256 of its rows,
    sources, splits), environment.txt (every installed package with its version), machine.json, command.sh,
    model-card.json and README.md.

    Raises:
        MedbenchError: There is no such model, or its files are damaged.
    """
    card = card_of(workspace, model_id)
    spec = workspace.runs / str(card.get("run", model_id)) / "run.yaml"
    tree = hierarchy.load(workspace.model(model_id))
    files = {
        "README.md": _readme(card).encode(),
        **({"run.yaml": spec.read_bytes()} if spec.is_file() else {}),
        **({"tree.csv": tree.as_csv()} if tree else {}),
        "command.sh": _script(
            card, run_report.dataset_card(workspace, card), spec.is_file(), tree is not None
        ).encode(),
        "data.json": _json(_data(workspace, card)),
        "environment.txt": _environment().encode(),
        "machine.json": _json(_machine(card)),
        "model-card.json": _json(card),
    }
    return zipped(files)


def _script(card: Mapping[str, Any], facts: Mapping[str, Any], spec: bool, tree: bool) -> str:
    """Return the shell script that goes from the source files to the model.

    Args:
        card: The model's card.
        facts: The card of its dataset; empty when it is gone, and nothing is imported.
        spec: Whether run.yaml lies beside the script.
        tree: Whether tree.csv does.
    """
    name = str(facts.get("id") or "")
    lines = [
        "#!/bin/sh",
        "# sh command.sh FOLDER, which holds the source files of data.json; where it says nothing: here.",
    ]
    lines += ["set -e", 'here=$(dirname "$0")', "from=${1:-.}"]
    if facts.get("sources"):
        lines += _import(facts)
    if name and tree:
        lines.append(f'medbench hierarchy {shlex.quote(name)} "$here/tree.csv"')
    if spec:
        data = f" {shlex.quote(f'dataset={name}')}" if name else ""
        lines += [f"# As it was typed: {card['command']}"] if card.get("command") else []
        lines.append(f'medbench train "$here/run.yaml"{data}')
    else:
        lines.append(str(card.get("command", "# the card names no command")))
    return "\n".join(lines) + "\n"


def _import(facts: Mapping[str, Any]) -> list[str]:
    """Return the lines that import a dataset from its source files, its columns, its split; its id is the proof."""
    text = facts.get("item") != "image"
    split: Mapping[str, Any] = facts.get("split", {})
    said: Mapping[str, Any] = next(iter(facts.get("mapping", {}).values()), {})
    labels: list[str] = said.get("labels") or []
    asked = {
        "--task": facts["task"],
        "--name": facts["name"],
        **({"--title": said.get("title"), "--text": said.get("text")} if text else {}),
        "--labels": labels[0] if len(labels) == 1 else None,
        "--id": said.get("id"),
        "--group": said.get("group"),
        "--split": said.get("split"),
        "--shares": "/".join(f"{100 * share:g}" for share in split.get("shares", ())),
        "--seed": str(facts.get("seed", 0)),
        "--licence": facts.get("licence"),
    }
    flags = [f"{flag} {shlex.quote(str(value))}" for flag, value in asked.items() if value]
    flags += ["--own-split"] * (split.get("method") == "file") + ["--split-by-image"] * bool(split.get("part_groups"))
    files = " ".join(shlex.quote(str(one["name"])) for one in facts["sources"])
    return [
        "# A table that lay inside an archive is no file of its own.",
        f'shift $#; for file in {files}; do if [ -e "$from/$file" ]; then set -- "$@" "$from/$file"; fi; done',
        f'medbench import files "$@" {" ".join(flags)}',
        f"# The dataset is the same when its id is {facts['id']}; with another the training below does not start.",
    ]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _data(workspace: Workspace, card: Mapping[str, Any]) -> dict[str, Any]:
    facts = run_report.dataset_card(workspace, card)
    rows = workspace.datasets / str(card.get("dataset", {}).get("id") or "-") / "rows.parquet"
    kept = ("id", "name", "task", "n_rows", "splits", "split", "seed", "mapping", "sources", "licence", "created")
    told = {name: facts[name] for name in kept if name in facts} or dict(card.get("dataset", {}))
    return {**told, "rows_sha256": _sha256(rows) if rows.is_file() else None}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _environment() -> str:
    """Return every installed package with its version, as pip reads it; medbench itself comes from its source tree."""
    named = {str(one.metadata["Name"]): one.version for one in metadata.distributions() if one.metadata["Name"]}
    ours = f"# medbench {named.pop('medbench', '')}: install it from its source tree\n"
    return ours + "".join(f"{name}=={named[name]}\n" for name in sorted(named, key=str.lower))


def _machine(card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "then": {"device": card.get("device"), "versions": card.get("versions", {})},
        "now": {"python": sys.version.split()[0], "system": platform.platform(), "processor": platform.machine()},
    }


def _readme(card: Mapping[str, Any]) -> str:
    data = card.get("dataset", {})
    python = card.get("versions", {}).get("python", "as in machine.json")
    return f"""# To repeat the run {card.get("run", card.get("id", ""))}

1. Install Python {python} and the packages of `environment.txt` (`pip install -r environment.txt`). It lists what was
   installed when this bundle was made; `model-card.json` has the versions of the run itself.
2. `sh command.sh FOLDER`, where FOLDER holds the source files that `data.json` names with their SHA-256. It imports the
   dataset “{data.get("name", "")}” (`{data.get("id", "")}`), sets its tree of labels where there is a `tree.csv`,
   and trains as `run.yaml` says. The id comes out the same when rows and splits are; `rows_sha256` digests
   `rows.parquet`. What was changed by hand on the Datasets page before it was saved, and other models that the run
   builds on, are not in here.

With the same packages on the same kind of processor the figures come out the same; elsewhere last digits may differ.
"""
