"""The same answers over HTTP: FastAPI, mounted under /api beside the pages, or served alone by `medbench serve`.

Every refusal is a 4xx with the three fields expected, found and todo. The work runs in a few threads of its own, so
that the event loop, which the pages share, stays free. The pages under /docs load nothing from anywhere.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import mimetypes
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import anyio
from fastapi import Depends, FastAPI, File, Form, Query, Request, Response, UploadFile
from fastapi import Path as PathField
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from medbench import __version__, aliases, batches, contest, explaining, gathering, job_answers, predicting, runs
from medbench.api_guard import Guard, RefusedError, TooLargeError, problem
from medbench.api_jobs import add_jobs, as_response
from medbench.api_page import page
from medbench.api_questions import (
    EVIDENCE_LIMIT,
    ITEMS_LIMIT,
    CompareIn,
    ExplainIn,
    ExplainOut,
    PredictIn,
    PredictOut,
    Problem,
)
from medbench.batches import Batch
from medbench.errors import FullDiskError, MedbenchError, MissingError, OversizedError
from medbench.mapping import guess
from medbench.predicting import Loaded
from medbench.readers import open_source
from medbench.records import ColumnMap, Item
from medbench.workspace import Workspace, read_json

_STEM_LIMIT, _SUFFIX_LIMIT = 120, 12  # characters of a file name and of its ending that are kept
# What starlette's parser of forms says, under status 400, of a form that is sound but too large.
_TOO_MUCH = re.compile(r"Too many (files|fields)\.|Part exceeded maximum size")
_THREADS = 4
_WATCH_EVERY = 0.5  # seconds between looks whether the client is still there
ResultT = TypeVar("ResultT")


def create_app(workspace: Workspace) -> FastAPI:
    """Return the API over a workspace. It knows no path prefix: mount it where it is wanted."""
    app = FastAPI(
        title="medbench",
        version=__version__,
        summary="Calibrated, explained labels for medical text. Research use. Not a medical device.",
        docs_url=None,
        redoc_url=None,
        responses={status: {"model": Problem, "description": "Refused"} for status in (400, 404, 413, 422)},
    )
    app.add_middleware(Guard)
    _add_refusals(app)
    _add_lists(app, workspace)
    # Threads of their own, so that waiting for a busy model never uses up the threads that draw the pages.
    threads = anyio.CapacityLimiter(_THREADS)
    _add_answers(app, workspace, threads)
    add_jobs(app, workspace, threads)
    return app


def mounted(workspace: Workspace) -> Starlette:
    """Return a server of the API alone, under /api as beside the pages; the bare address leads to its documents."""
    routes = [Mount("/api", create_app(workspace)), Route("/", lambda _: RedirectResponse("/api/docs"))]
    return Starlette(routes=routes)


def _add_lists(app: FastAPI, workspace: Workspace) -> None:
    @app.get("/health", summary="Is the server up?", tags=["state"])
    def health() -> dict[str, Any]:
        return {"status": "ok", "version": __version__, "models": len(workspace.model_cards())}

    @app.get("/models", summary="List the models", tags=["models"])
    def models() -> list[dict[str, Any]]:
        """Newest first, shipped starters last; ask for one of them to get its whole card."""
        names = ("id", "name", "task", "family", "answer", "labels", "label_names", "created", "metrics", "judged_on")
        return [{name: card.get(name) for name in names} for card in predicting.list_models(workspace)]

    @app.get("/models/{model_id}", summary="Read a model card", tags=["models"])
    def model(model_id: Annotated[str, PathField(description="As GET /models lists it.")]) -> dict[str, Any]:
        """Data, split, options, metrics with intervals, calibration, limits and licence of one model."""
        return read_json(_card_path(workspace, model_id))

    @app.get("/aliases", summary="List the jobs and who answers for them", tags=["models"])
    def list_aliases() -> list[dict[str, Any]]:
        """`@name` stands wherever a model id does. Champion, challenger, changes and how both fare."""
        fared = [(job, contest.fared(workspace, job)) for job in aliases.jobs(workspace)]
        return [{**job.as_json(), "contest": found.as_json() if found else None} for job, found in fared]

    @app.get("/models/{model_id}/methods", summary="List how a model can be explained", tags=["models"])
    def methods(model_id: Annotated[str, PathField(description="As GET /models lists it.")]) -> list[dict[str, Any]]:
        """Its best method first, each with what it does; for models of texts."""
        return [asdict(method) for method in explaining.methods_for(_load(workspace, model_id))]

    @app.get("/runs", summary="List the training runs", tags=["runs"])
    def list_runs() -> list[dict[str, Any]]:
        """Newest first: queued, running, finished, failed, cancelled or lost."""
        shown = ("t", "kind", "sentence", "step", "steps", "eta", "reason")
        return [
            {**asdict(run), "last": {name: run.last[name] for name in shown if name in run.last}}
            for run in runs.list_runs(workspace)
        ]

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page(app.openapi(), str(request.url.replace(query="")).removesuffix("/docs")))


def _add_answers(app: FastAPI, workspace: Workspace, threads: anyio.CapacityLimiter) -> None:
    async def work(act: Callable[[], ResultT]) -> ResultT:
        return await anyio.to_thread.run_sync(act, limiter=threads)

    @app.post("/predict", response_model=PredictOut, summary="Label items", tags=["answers"])
    async def predict(question: PredictIn) -> Response:
        """Calibrated probabilities, decisions, conformal set and flags of each item; the same as in the app."""
        return await work(lambda: _predicted(workspace, question))

    @app.post("/explain", response_model=ExplainOut, summary="Say why a label got its score", tags=["answers"])
    async def explain(question: ExplainIn) -> Response:
        """The words or sentences that drove one label, with signed weights and how faithful the marks are."""
        return await work(lambda: _explained(workspace, question))

    @app.post("/explain/compare", summary="Say why, by several methods, and how far they agree", tags=["answers"])
    async def compare(question: CompareIn) -> Response:
        """What each method marks, how faithful it is, and rank correlation and shared words of each two."""
        return await work(lambda: _compared(workspace, question))

    @app.post("/predict/file", response_class=FileResponse, summary="Label a file", tags=["answers"])
    async def predict_file(
        request: Request,
        file: Annotated[UploadFile, File(description="CSV, JSON, Excel, RIS, NBIB, XML, BibTeX, ... by content.")],
        model: Annotated[str, Form(description="Model id.")],
        chosen: Annotated[dict[str, str], Depends(_columns)],
        format: Annotated[
            Literal["same", "csv", "json"], Query(description="same: the file back in its own format, labels added.")
        ] = "same",
    ) -> Response:
        """The file comes back with labels, scores, model id and flags added; the server keeps nothing of it."""
        stop = threading.Event()
        watcher = asyncio.create_task(_watch(request, stop))
        try:
            return await work(lambda: _answered_file(workspace, file, model, chosen, format, stop))
        finally:
            watcher.cancel()


def _columns(
    title: Annotated[str | None, Form(description="Column of the title; guessed when left out.")] = None,
    text: Annotated[str | None, Form(description="Column of the abstract or text; guessed when left out.")] = None,
    id: Annotated[str | None, Form(description="Column of the item's id; guessed when left out.")] = None,
) -> dict[str, str]:
    named = {"title": title, "text": text, "id": id}
    return {role: column for role, column in named.items() if column}


async def _watch(request: Request, stop: threading.Event) -> None:
    """Set `stop` when the client has gone."""
    while not await request.is_disconnected():
        await asyncio.sleep(_WATCH_EVERY)
    stop.set()


def _card_path(workspace: Workspace, model_id: str) -> Path:
    model_id = aliases.resolve(workspace, model_id)
    names = [path.parent.name for path in workspace.model_cards()]
    if model_id not in names:
        shown = ", ".join(names[:8]) or "none yet"
        raise MissingError("the id of a model", repr(model_id[:100]), f"Models here: {shown}.")
    return workspace.model(model_id) / "model.json"


def _load(workspace: Workspace, model_id: str) -> Loaded:
    _card_path(workspace, model_id)
    return predicting.load_for(workspace, model_id, "text")


def _predicted(workspace: Workspace, question: PredictIn) -> Response:
    asked = len(question.items)
    limit = EVIDENCE_LIMIT if question.evidence else ITEMS_LIMIT
    if asked > limit:
        what = "items with evidence" if question.evidence else "items"
        raise RefusedError(413, f"at most {limit:,} {what} a call", f"{asked:,}", "Split them, or use /predict/file.")
    items = [entry.item(position) for position, entry in enumerate(question.items, start=1)]
    loaded = _load(workspace, question.model)
    asked_job = question.model.startswith(aliases.SIGN)
    given = job_answers.answer(workspace, question.model, items)[0] if asked_job else gathering.predict(loaded, items)
    told = []
    for item, prediction in zip(items, given, strict=True):
        answer = prediction.as_json()
        if question.evidence:
            by = _load(workspace, prediction.model)
            answer["evidence"] = [_reasons(by, item, label) for label in prediction.chosen]
        told.append(answer)
    return as_response({"model": loaded.id, "predictions": told})


def _asked(workspace: Workspace, question: ExplainIn) -> tuple[Loaded, Item, str]:
    """Return model, item and label of a question about reasons."""
    item = question.item.item(1)
    loaded = _load(workspace, question.model)
    if not item.joined:
        raise RefusedError(422, "a title or a text", "an empty item", "Send the words to explain.")
    label = question.label
    if label is None:
        label = max(predicting.predict(loaded, [item])[0].labels, key=lambda score: score.probability).label
    return loaded, item, label


def _explained(workspace: Workspace, question: ExplainIn) -> Response:
    return as_response(_reasons(*_asked(workspace, question), question.method))


def _compared(workspace: Workspace, question: CompareIn) -> Response:
    loaded, item, label = _asked(workspace, question)
    asked = [name.strip() for name in question.method.split(",") if name.strip()]
    names = asked or explaining.quick_for(loaded)
    return as_response({**explaining.compare(loaded, item, label, names).as_json(), "text": item.joined})


def _reasons(loaded: Loaded, item: Item, label: str, method: str = "") -> dict[str, Any]:
    asked = explaining.explain(loaded, item, label, method) if method else predicting.explain(loaded, item, label)
    heat = None if asked.heat is None else asked.heat.tolist()
    return {**asdict(asked), "heat": heat, "text": item.joined}


def _answered_file(
    workspace: Workspace,
    file: UploadFile,
    model_id: str,
    chosen: dict[str, str],
    format: Literal["same", "csv", "json"],
    stop: threading.Event,
) -> Response:
    """Answer an upload inside a temporary folder, which goes when the answer has been sent."""
    _card_path(workspace, model_id)
    folder = Path(tempfile.mkdtemp(prefix="medbench-"))
    clean_up = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        name = Path(file.filename or "upload").name
        upload = folder / "upload"
        with upload.open("wb") as out:
            shutil.copyfileobj(file.file, out, 1 << 20)
        mapping = _mapped(upload, name, chosen) if chosen else None
        batch = batches.open_batch(workspace, model_id, upload, name, mapping, folder / "chunks")
        batch.run(None, stop)
        if stop.is_set():
            shutil.rmtree(folder, ignore_errors=True)
            return Response(status_code=499)  # the client has gone; nobody reads this
        out_path, out_name = _written(batch, folder, Path(name), format)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    kind = mimetypes.guess_type(out_name)[0] or "application/octet-stream"
    return FileResponse(out_path, filename=out_name, media_type=kind, background=clean_up)


def _mapped(upload: Path, name: str, chosen: dict[str, str]) -> ColumnMap:
    """Return the column map with the columns the caller named; the others are guessed."""
    reader, source = open_source(upload, name)
    return guess(reader.roles, list(itertools.islice(reader.read(source), batches.SAMPLE)), chosen)


def _written(batch: Batch, folder: Path, name: Path, format: Literal["same", "csv", "json"]) -> tuple[Path, str]:
    if format == "json":
        path = folder / "answers.json"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(_json_parts(batch))
        return path, f"{name.stem[:_STEM_LIMIT]}-medbench.json"
    same = batch.reader.writes and (format == "same" or batch.reader.name == "tables")
    plain = Path(name.name.removesuffix(".gz"))
    kept = plain.suffix if len(plain.suffix) <= _SUFFIX_LIMIT else batch.reader.extensions[0]
    suffix = kept if same else ".csv"
    path = batch.write(folder / f"answers{suffix}", None, None if same else "tables")
    return path, f"{plain.stem[:_STEM_LIMIT]}-medbench{suffix}"


def _json_parts(batch: Batch) -> Iterator[str]:
    """Yield the JSON of a batch piece by piece, so that a long file needs no more memory than a short one."""
    counts = batch.account
    account = {
        "read": counts.read,
        "repaired": counts.repaired,
        "refused": counts.refused,
        "entries": [dict(zip(("line", "what", "reason"), entry, strict=True)) for entry in counts.entries],
    }
    stands = json.dumps(batch.stands(), ensure_ascii=False)
    yield f'{{"model": {json.dumps(batch.loaded.id)}, "account": {json.dumps(account)}, "stands": {stands}, '
    yield '"predictions": ['
    for number, (_, prediction) in enumerate(batch.predictions()):
        yield (",\n" if number else "\n") + json.dumps(prediction.as_json(), ensure_ascii=False)
    yield "]}\n"


def _add_refusals(app: FastAPI) -> None:
    described = "a request as /docs describes it"

    @app.exception_handler(MedbenchError)
    async def tellproblem(_: Request, error: MedbenchError) -> Response:
        known = {OversizedError: 413, MissingError: 404, FullDiskError: 507}
        usual = next((status for kind, status in known.items() if isinstance(error, kind)), 400)
        return problem(error.status if isinstance(error, RefusedError) else usual, **error.parts())

    @app.exception_handler(RequestValidationError)
    async def tell_invalid(_: Request, error: RequestValidationError) -> Response:
        faults = [f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}" for entry in error.errors()]
        more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
        return problem(422, described, "; ".join(faults[:10]) + more, "Correct these fields.")

    @app.exception_handler(HTTPException)
    async def tell_http(request: Request, error: HTTPException) -> Response:
        if isinstance(error, TooLargeError):
            return error.answer()
        found = f"{request.method} {request.url.path}: {error.detail}"
        if _TOO_MUCH.match(str(error.detail)):
            return problem(413, "a form within the limits", found, "Send it in parts.")
        return problem(error.status_code, described, found, "Look at /docs for what there is.")
