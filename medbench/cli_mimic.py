"""The part of the command line that speaks of MIMIC: import mimic, prepare, tokens."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medbench.cli_runs import Json, give, note, told
from medbench.errors import MedbenchError, Stopped
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from medbench.mimic import Verdict

Folder = Annotated[Path, typer.Argument(help="Folder of the download: CSV or CSV.GZ, as PhysioNet hands it out.")]
Which = Annotated[str, typer.Option("--version", help="iii for MIMIC-III v1.4, iv for MIMIC-IV v2.2 or 3.1.")]
Patients = Annotated[
    int | None, typer.Option(help="How many patients, those with discharge notes first; empty means all.")
]
Drop = Annotated[bool, typer.Option("--drop", help="Build again, in the place of an existing database.")]
Seed = Annotated[int, typer.Option(help="Seed of the draw of patients and of the 80/10/10 splits.")]
Notes = Annotated[Path | None, typer.Option(help="Folder of MIMIC-IV-Note, where it lies apart.")]
SplitIds = Annotated[
    list[Path] | None, typer.Option("--split-ids", help="Published splits: ids and splits; give it once per file.")
]
OnlyCoding = Annotated[bool, typer.Option("--only-coding", help="Leave out tables that coding does not need.")]
Codes = Annotated[str, typer.Option(help="Labels of the dataset: diagnosis, procedure or all.")]
Icd = Annotated[str, typer.Option(help="Codes of ICD revision 9, 10 or all.")]
MinCount = Annotated[int, typer.Option(help="A code needs so many admissions to become a label.")]
Named = Annotated[str, typer.Option(help="First part of the database's name; empty means mimic-iii or mimic-iv.")]

_EVERY = 1.0


class ImportGroup(typer.core.TyperGroup):
    """`import mimic FOLDER` beside `import FILES`: what does not begin with a known word are files."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the verb that may be left out."""
        if not args or args[0] not in self.commands:
            args = ["files", *args]
        return super().parse_args(ctx, args)


def import_mimic(
    folder: Folder,
    version: Which,
    patients: Patients = None,
    drop: Drop = False,
    seed: Seed = 0,
    notes: Notes = None,
    split_ids: SplitIds = None,
    only_coding: OnlyCoding = False,
    name: Named = "",
    dataset: Annotated[str, typer.Option(help="Also save a dataset under this name, to train on.")] = "",
    codes: Codes = "all",
    icd: Icd = "all",
    min_count: MinCount = 1,
    as_json: Json = False,
) -> None:
    """Build one DuckDB file from a MIMIC download: notes, codes, splits by patient, prompt-completion pairs.

    Prints the file. Ctrl+C stops and leaves nothing behind. The same files and options are built once.

    For example:

      medbench import mimic mimiciii/1.4 --version iii --patients 5000

      medbench import mimic mimiciv/3.1 --version iv --notes mimic-iv-note/2.2 --dataset mimic-iv --min-count 10
    """
    from medbench.mimic import Order

    with told(as_json):
        order = Order(folder, _version(version), patients, seed, name, notes, tuple(split_ids or ()), not only_coding)
        path, verdict = _built(order, drop, as_json)
        facts: dict[str, Any] = {"database": str(path), **asdict(verdict)}
        if dataset:
            facts["dataset"], facts["labels"] = _dataset(path, dataset, codes, icd, min_count, as_json)
    give(facts, as_json, lambda: "\n".join([str(path), *([str(facts["dataset"])] if dataset else [])]))


def prepare(
    folder: Folder,
    version: Which,
    patients: Patients = None,
    drop: Drop = False,
    seed: Seed = 0,
    notes: Notes = None,
    split_ids: SplitIds = None,
    dataset: Annotated[str, typer.Option(help="Name of the dataset; empty means the database's name.")] = "",
    codes: Codes = "all",
    icd: Icd = "all",
    min_count: MinCount = 1,
    tokenizer: Annotated[Path | None, typer.Option(help="Model folder with tokenizer.json; empty means ours.")] = None,
    as_json: Json = False,
) -> None:
    """Do all that training on MIMIC needs: database, splits, pairs, their tokens, and the dataset. Prints its id.

    For example:

      medbench prepare mimiciii/1.4 --version iii --codes diagnosis --min-count 10
    """
    from medbench import mimic_tokens
    from medbench.mimic import Order

    with told(as_json):
        order = Order(folder, _version(version), patients, seed, "", notes, tuple(split_ids or ()), False)
        path, _ = _built(order, drop, as_json)
        dataset_id, labels = _dataset(path, dataset or path.stem[:-11], codes, icd, min_count, as_json)
        count = mimic_tokens.tokenise(path, _tokenizer(tokenizer), _teller(as_json))
        facts = {"database": str(path), "dataset": dataset_id, "labels": labels, "tokens": asdict(count)}
        if not as_json:
            _describe_tokens(count)
    give(facts, as_json, lambda: dataset_id)


def tokens(
    database: Annotated[str, typer.Argument(help="Name of a MIMIC database, or its file.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Model folder with tokenizer.json; empty means ours.")] = None,
    as_json: Json = False,
) -> None:
    """Tokenise the prompt-completion pairs of a MIMIC database, keep them, and count. Prints the file.

    For example:

      medbench tokens mimic-iii --tokenizer models/DeepSeek-R1-Distill-Qwen-1.5B
    """
    from medbench import mimic, mimic_tokens

    with told(as_json):
        path = mimic.find(Workspace.here(), database)
        count = mimic_tokens.tokenise(path, _tokenizer(tokenizer), _teller(as_json))
    if not as_json:
        _describe_tokens(count)
    give(asdict(count), as_json, lambda: count.path)


def _version(text: str) -> Any:
    return {"3": "iii", "4": "iv"}.get(text.lower(), text.lower())


def _built(order: Any, drop: bool, quiet: bool) -> tuple[Path, Verdict]:
    """Build the database, or find it built, and describe it."""
    from medbench import mimic

    with _stopping() as stop:
        try:
            path, verdict = mimic.build(Workspace.here(), order, drop=drop, say=_teller(quiet), stop=stop)
        except Stopped:
            raise MedbenchError(
                "a database built to the end", "a stop by you", "Nothing was left behind; give the command again."
            ) from None
    if not quiet:
        _describe(verdict)
    return path, verdict


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Turn Ctrl+C into a request to stop, so that what was begun is cleared away."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _dataset(path: Path, name: str, codes: str, icd: str, min_count: int, quiet: bool) -> tuple[str, list[str]]:
    from medbench import mimic_dataset
    from medbench.tasks import all_tasks

    wish = mimic_dataset.Wish(codes, icd, min_count)  # type: ignore[arg-type]
    task = all_tasks().get("icd")
    names: dict[str, Callable[[str], str]] = {"clean_label": task.clean_label if task else str.strip}
    names |= {"label_name": task.label_name} if task else {}
    dataset_id, sentences = mimic_dataset.to_dataset(
        Workspace.here(), path, wish, name=name, **names, say=_teller(quiet)
    )
    for sentence in [] if quiet else sentences:
        note(sentence)
    return dataset_id, sentences


def _tokenizer(folder: Path | None) -> Path:
    """Return the tokenizer asked for, else that of the encoder that is installed with medbench."""
    from medbench.families import _bases

    return folder or _bases.obtain(_bases.MINILM)


def _teller(quiet: bool) -> Callable[[float, str], None]:
    """Return what prints progress, at most once a second."""
    last = 0.0

    def tell(share: float, sentence: str) -> None:
        nonlocal last
        if not quiet and (share >= 1 or time.monotonic() - last >= _EVERY):
            last = time.monotonic()
            note(f"{share:4.0%}  {sentence}")

    return tell


def _describe(verdict: Verdict) -> None:
    for table in verdict.tables:
        note(f"{table.name:20} {table.kept:>12,} of {table.rows:,} rows")
    for sentence in verdict.left_out:
        note(sentence)
    note(
        f"{verdict.patients:,} patients, {verdict.noted:,} with a discharge note; {verdict.notes:,} admissions with one"
    )
    note(f"{verdict.coded:,} admissions to train on: {verdict.splits}")


def _describe_tokens(count: Any) -> None:
    speed = f", {count.tokens / count.seconds:,.0f} tokens a second" if count.seconds else ""
    note(f"{count.pairs:,} pairs, {count.tokens:,} tokens, median {count.median:,}, longest {count.longest:,}{speed}")
    for window, part in count.longer.items():
        note(f"{part:6.1%} are longer than {int(window):,} tokens")
