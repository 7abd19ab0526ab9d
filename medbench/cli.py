"""The command line: the same library, the same answers as the app and the API.

Answers go to standard output, progress and problems to standard error. A problem the user can solve ends with exit
code 2 and one sentence; `--json` on any command prints JSON for machines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medbench import __version__, cli_aliases, cli_mimic, cli_predict
from medbench.cli_codes import codes_app
from medbench.cli_compare import compare
from medbench.cli_entities import dictionary_app, entities
from medbench.cli_explain import explain
from medbench.cli_hierarchy import hierarchy
from medbench.cli_lesion import lesion_lines
from medbench.cli_report import report
from medbench.cli_review import review_app
from medbench.cli_runs import Cluster, Column, Json, follow, give, interval, note, picked, runs_app, told
from medbench.cli_trust import strangers, trust
from medbench.cli_vocabulary import vocabulary
from medbench.errors import MedbenchError
from medbench.workspace import Workspace

app = typer.Typer(
    name="medbench",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Label medical texts, honestly: import, train, predict, evaluate. Research use, not a medical device.\n\n"
    "Data and models lie in the current folder, or in the folder that MEDBENCH_HOME names.",
)
app.add_typer(runs_app, name="runs", invoke_without_command=True)
import_app = typer.Typer(cls=cli_mimic.ImportGroup, rich_markup_mode=None)
app.add_typer(import_app, name="import", help="Read files into a dataset, or a MIMIC download into a database.")
import_app.command("mimic")(cli_mimic.import_mimic)
app.command("prepare")(cli_mimic.prepare)
app.command("tokens")(cli_mimic.tokens)
app.command()(explain)
app.command()(compare)
app.command()(hierarchy)
app.command()(vocabulary)
app.command()(entities)
app.add_typer(dictionary_app, name="dictionary")
app.add_typer(codes_app, name="codes")
app.add_typer(review_app, name="review")
app.command()(cli_predict.predict)
app.command()(report)
app.command()(strangers)
app.command()(trust)
app.command("test-export")(cli_predict.test_export)
for act in (
    cli_aliases.promote,
    cli_aliases.challenge,
    cli_aliases.withdraw,
    cli_aliases.rollback,
    cli_aliases.aliases,
):
    app.command()(act)

Group = Annotated[str | None, typer.Option(metavar="COL", help="Column of what must stay together, e.g. the patient.")]
Codes = Annotated[str, typer.Option(help="Version of bare ICD codes (icd10cm, icd9cm, ...); found out when empty.")]
Torn = Annotated[
    bool, typer.Option("--split-by-image", help="Tear lesions and patients apart; scores come out too good.")
]


def main() -> None:
    """Run the command line."""
    app()


def _version(shown: bool) -> None:
    if shown:
        print(f"medbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Label medical texts: import, train, predict, evaluate."""


@import_app.command("files")
def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(help="Texts: CSV, TSV, JSON, Excel, RIS, NBIB, XML, BibTeX, PDF. Pictures: zip or folder."),
    ],
    task: Annotated[str, typer.Option(help="The job: literature, icd or lesion.")] = "literature",
    name: Annotated[str, typer.Option(help="Name of the dataset; the first file's name when empty.")] = "",
    title: Column = None,
    abstract: Column = None,
    text: Column = None,
    labels: Column = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="COL", help="Column of the item's own id.")] = None,
    group: Group = None,
    split: Annotated[str | None, typer.Option(metavar="COL", help="Column with the file's own splits.")] = None,
    shares: Annotated[str, typer.Option(help="Train, validation and test shares in percent.")] = "70/15/15",
    codes: Codes = "",
    own_split: Annotated[bool, typer.Option("--own-split", help="Use the file's own splits.")] = False,
    split_by_image: Torn = False,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    licence: Annotated[str, typer.Option(help="Licence or terms of the data, kept on every model's card.")] = "",
    as_json: Json = False,
) -> None:
    """Read files into a dataset, judge it, and print its id. For MIMIC see: medbench import mimic --help.

    For example:

      medbench import search.nbib --name my-search

      medbench import ohsumed.csv.gz --task literature --name ohsumed --title title --abstract abstract --labels labels

      medbench import HAM10000.zip HAM10000_metadata.csv --task lesion --name ham10000
    """
    from medbench import datasets, importing
    from medbench.splits import SplitPlan

    with told(as_json):
        shared = importing.shares_of(shares)
        plan = SplitPlan("file" if own_split else "stratified", shared, seed, part_groups=split_by_image)
        chosen = picked(title=title, abstract=abstract, text=text, labels=labels, id=id_, group=group, split=split)
        workspace, named = Workspace.here(), [(path, path.resolve().name) for path in files]
        tell = None if as_json else lambda share, sentence: note(f"{share:4.0%}  {sentence}")
        about: dict[str, Any] = {"task": task, "name": name, "licence": licence, "codes": codes, "tell": tell}
        dataset_id, draft = importing.bring(workspace, named, chosen=chosen, plan=plan, **about)
        card = datasets.load(workspace, dataset_id).card
    if not as_json:
        _describe(draft, card)
    give(card, as_json, lambda: dataset_id)


def _describe(draft: Any, card: dict[str, Any]) -> None:
    for file, account in draft.account.items():
        note(f"{file}: {account.read:,} read, {account.repaired:,} repaired, {account.refused:,} refused")
        for line, status, reason in account.entries[:5]:
            note(f"  line {line}: {status}: {reason}")
    for sentence in [*draft.notices, *draft.cleaning]:
        note(sentence)
    for finding in card["findings"]:
        if finding["severity"] != "info":
            note(f"[{finding['severity']}] {finding['sentence']}")
    note(f"{card['n_rows']:,} rows, {len(card['labels'])} labels, splits {card['splits']}")


@app.command()
def train(
    spec: Annotated[list[str] | None, typer.Argument(help="A YAML spec and key=value overrides.")] = None,
    task: Annotated[str, typer.Option(help="The job: literature, icd or lesion.")] = "literature",
    family: Annotated[
        str | None, typer.Option(help="The method: linear, encoder, vision, ... See the Train page.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset id or name.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, max=10, help="Also cross-validate in so many folds of the train rows.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and return at once.")] = False,
    cluster: Cluster = "",
    as_json: Json = False,
) -> None:
    """Train a model in a process of its own, follow it, and print the model's id.

    Ctrl+C leaves the run going; `medbench runs cancel ID` stops it.

    For example:

      medbench train --family linear --dataset ohsumed

      medbench train configs/literature-encoder.yaml dataset=ohsumed options.epochs=5

      medbench train --family linear --dataset ohsumed --folds 5

      medbench train --family linear --dataset ohsumed --cluster 10.0.0.5:6379
    """
    from medbench import preflight, runs

    workspace = Workspace.here()
    with told(as_json):
        words = list(spec or [])
        path = Path(words.pop(0)) if words and "=" not in words[0] else None
        named = picked(family=family, dataset=dataset)
        overrides = [*([] if path else [f"task={task}"]), *(f"{key}={value}" for key, value in named.items())]
        overrides += [*words, *([f"folds={folds}"] if folds else [])]
        wanted = runs.read_spec(path, overrides) if path else runs.parse_spec("", overrides, "the command line")
        outlook = preflight.check(workspace, wanted)
        if outlook.problems:
            found = f"{len(outlook.problems)} problem{'s' * (len(outlook.problems) > 1)}"
            raise MedbenchError("a run that can start", found, " ".join(outlook.problems))
        run_id = runs.start(workspace, wanted, cluster)
        note(f"Run {run_id} started.")
        if detach:
            give({"run": run_id}, as_json, lambda: run_id)
            return
        follow(workspace, run_id, as_json)


@app.command()
def tune(
    spec: Annotated[list[str] | None, typer.Argument(help="A YAML spec and key=value overrides.")] = None,
    task: Annotated[str, typer.Option(help="The job: literature, icd or lesion.")] = "literature",
    family: Annotated[str | None, typer.Option(help="The method: linear, embedding, encoder, causal, vision.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset id or name.")] = None,
    minutes: Annotated[float, typer.Option(help="Stop searching after so many minutes.")] = 10,
    trials: Annotated[int, typer.Option(help="Try at most so many sets of options.")] = 40,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and return at once.")] = False,
    as_json: Json = False,
) -> None:
    """Search the options that you do not give, on the validation split; then train with the best and judge it once.

    A search that was stopped goes on with `medbench runs resume ID`.

    For example:

      medbench tune --family linear --dataset ohsumed --minutes 5 options.loss=svm
    """
    words = [*(spec or []), f"tune.minutes={minutes}", f"tune.trials={trials}"]
    train(words, task, family, dataset, None, detach, "", as_json)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models that can answer. Example: medbench models --json."""
    from medbench import predicting

    with told(as_json):
        cards = predicting.list_models(Workspace.here())
    give(cards, as_json, lambda: "\n".join(map(_model_line, cards)) or "No models yet: medbench train --help")


def _model_line(card: dict[str, Any]) -> str:
    name = "balanced_accuracy" if card.get("item") == "image" else "micro_f1"
    headline = card["metrics"].get(name, {})
    interval = f" ({headline['low']:.3f}–{headline['high']:.3f})" if headline.get("low") is not None else ""
    figure = (
        f"{'micro-F1' if name == 'micro_f1' else 'balanced accuracy'} {headline['value']:.3f}{interval}"
        if headline
        else ""
    )
    return f"{card['id']}  {card['family']:10}  {figure}  {card['name']}"


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model id; see: medbench models.")],
    file: Annotated[Path, typer.Argument(help="A labelled file the model never saw.")],
    title: Column = None,
    abstract: Column = None,
    text: Column = None,
    labels: Column = None,
    group: Column = None,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Also count rows the model learnt from.")] = False,
    as_json: Json = False,
) -> None:
    """Score a model on a labelled file: metrics with 95 % intervals.

    For example:

      medbench evaluate starter-literature-domains test.csv --labels labels
    """
    from medbench import evaluating, picture_batches
    from medbench.tasks import get_task

    with told(as_json):
        chosen = picked(title=title, abstract=abstract, text=text, labels=labels, group=group)
        pictures = picture_batches.is_pictures(Workspace.here(), model, file)
        judge = picture_batches.evaluate_pictures if pictures else evaluating.evaluate_file
        found = judge(Workspace.here(), model, file, chosen=chosen, keep_seen=keep_seen)
    lines = [f"{found.judged:,} rows of {found.file} judged with {found.model}"]
    # Of a diagnosis what is asked of it; the ranking figures of texts with several labels say nothing there.
    shown = get_task("lesion").metrics if pictures else tuple(found.metrics)
    lines += [f"{name:18} {interval(found.metrics[name])}" for name in shown if name in found.metrics]
    lines += _code_lines(found.codes) + lesion_lines(found.lesion)
    give(found.as_json(), as_json, lambda: "\n".join([*lines, *found.notes]))


def _code_lines(codes: dict[str, Any] | None) -> list[str]:
    """Return the figures of ICD codes: codes the model does not know count as missed."""
    if not codes:
        return []
    lines = []
    for part, words in (("full", "Full codes"), ("category", "Three characters")):
        lines.append(f"{words}, all codes of the file, {codes['unknown']:,} of them unknown to the model:")
        lines += [f"{name:18} {figure['value']:.4f}" for name, figure in codes[part].items()]
    return lines


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Model id; see: medbench models.")],
    to: Annotated[
        str,
        typer.Option(
            help="starter, safetensors, onnx, openvino-int8; language models: adapter, merged, gguf, gguf-q8_0, onnx."
        ),
    ] = "starter",
    out: Annotated[Path | None, typer.Option(help="Folder for the exported files; empty means exports/MODEL.")] = None,
    name: Annotated[str, typer.Option(help="Short name of a starter, lower-case.")] = "",
    title: Annotated[str, typer.Option(help="What users read of a starter.")] = "",
    as_json: Json = False,
) -> None:
    """Take a model out of the workspace: as a starter without its training rows, or for another program.

    For example:

      medbench export MODEL --to starter --name domains --title "Medical domains"

      medbench export starter-lesion --to onnx --out /tmp/lesion

      medbench export MODEL --to gguf --out exports/mine
    """
    from medbench import exporting

    with told(as_json):
        if to == "starter":
            folder = exporting.as_starter(Workspace.here(), model, name or model, title or name or model)
        else:
            folder = exporting.for_programs(Workspace.here(), model, to, out or Path("exports") / model)
    give({"folder": str(folder)}, as_json, lambda: str(folder))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; others than 127.0.0.1 open it to the network.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 8600,
    as_json: Json = False,
) -> None:
    """Serve the REST API alone, under /api. Example: medbench serve --port 8600."""
    import uvicorn

    from medbench import shadowing
    from medbench.api import mounted

    if host not in ("127.0.0.1", "localhost", "::1"):
        note(f"Anyone who can reach {host}:{port} can use this server: it asks for no password.")
    give(
        {"url": f"http://{host}:{port}/api"},
        as_json,
        lambda: f"The API is at http://{host}:{port}/api (docs: /api/docs)",
    )
    shadowing.go_on(Workspace.here())
    uvicorn.run(mounted(Workspace.here()), host=host, port=port, log_level="warning")
