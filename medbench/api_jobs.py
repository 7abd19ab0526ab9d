"""The routes of jobs: photographs of lesions, codes for clinical notes, models compared; datasets and their trees."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import anyio
from fastapi import Depends, FastAPI, File, Form, Query, UploadFile
from fastapi import Path as PathField
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from medbench import api_data, api_icd, api_lesion, coding, comparing_sheet, dictionaries, entities
from medbench.codes import Version
from medbench.workspace import Workspace

_MODEL = "Id of a model for ICD codes, or @job; the dictionary alone answers when left out."
_TABLE = "Table that the dictionary codes with: that of the model's labels when left out, or icd10cm."
_MOST = Field(default=coding.MOST, ge=1, le=coding.MOST * 10, description="At most so many codes.")


class NoteIn(BaseModel):
    """A clinical note to be coded."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description=f"The note, at most {coding.LONGEST:,} characters.")
    model: str = Field(default="", description=_MODEL)
    most: int = _MOST
    version: api_icd.Table = Field(default=None, description=_TABLE)


class EntitiesIn(BaseModel):
    """A text whose medical entities are looked for."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description=f"The text, at most {entities.LONGEST:,} characters.")
    dictionaries: list[str] | None = Field(default=None, description="Ids of lists of terms; all when left out.")
    codes: entities.Codes | None = Field(default="icd10cm", description="Code table to look in; null for none.")
    scispacy: str = Field(default="", description="An installed scispaCy model whose marks are added.")


class TreeIn(BaseModel):
    """A tree of a dataset's labels, in one of three ways."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(default="", description="The tree as CSV (child,parent), JSON, YAML or indented text.")
    parents: dict[str, str] | None = Field(default=None, description="Label or group -> what stands right above it.")
    ready: bool = Field(default=False, description="The job's own: ICD chapters and blocks, malignant and benign.")
    leave_out: bool = Field(default=False, description="Leave out names that are no labels, instead of refusing them.")


def add_jobs(app: FastAPI, workspace: Workspace, threads: anyio.CapacityLimiter) -> None:
    """Add the routes to the API; their work runs in `threads`."""

    async def work(act: Callable[[], Any]) -> Response:
        return await anyio.to_thread.run_sync(lambda: as_response(act()), limiter=threads)

    _add_lesions(app, workspace, work)
    _add_codes(app, workspace, work)
    _add_comparison(app, workspace, work)
    _add_entities(app, workspace, work)
    _add_datasets(app, workspace, work)
    _add_trees(app, workspace, work)


def as_response(value: Any) -> Response:
    """Encode in the thread that did the work, not on the event loop."""
    return Response(json.dumps(value, ensure_ascii=False), media_type="application/json")


def _add_lesions(app: FastAPI, workspace: Workspace, work: Callable[..., Any]) -> None:
    @app.post("/lesion/predict", summary="Read photographs of skin lesions", tags=["answers"])
    async def predict_lesions(
        files: Annotated[
            list[UploadFile], File(description="Pictures, or a zip of them; a table of facts beside them.")
        ],
        model: Annotated[str, Form(description="Id of a model for pictures, or @job.")],
        age: Annotated[str, Form(description="Age of the patient, years.")] = "",
        sex: Annotated[str, Form(description="male or female.")] = "",
        site: Annotated[str, Form(description="Where on the body, e.g. back.")] = "",
        heat: Annotated[bool, Query(description="Also the heat map of a label, and its trust.")] = False,
        label: Annotated[str, Query(description="Whose heat map; the decided label when left out.")] = "",
        method: Annotated[str, Query(description="How, e.g. grad-cam++; the model's first when left out.")] = "",
    ) -> Response:
        """The same record for each picture as in the app; a picture that cannot be read has a problem."""
        sent = [(file.filename or "picture", file.file) for file in files]
        facts = {"age": age, "sex": sex, "site": site}
        asked = api_lesion.AskedHeat(label, method) if heat else None
        answer: Response = await work(partial(api_lesion.answered, workspace, model, sent, facts, asked))
        return answer


def _add_codes(app: FastAPI, workspace: Workspace, work: Callable[..., Any]) -> None:
    @app.post("/icd/predict", summary="Code a clinical note", tags=["answers"])
    async def code_text(note: NoteIn) -> Response:
        """Codes with descriptions, evidence in the note, and what is set apart (denied, a relative's, past, unsure)."""
        asked = (note.text, note.model, note.most, note.version)
        answer: Response = await work(partial(api_icd.coded_text, workspace, *asked))
        return answer

    @app.post("/icd/predict/file", summary="Code a PDF or text file", tags=["answers"])
    async def code_file(
        file: Annotated[UploadFile, File(description="A PDF with text in it, or a text file; one document.")],
        model: Annotated[str, Form(description=_MODEL)] = "",
        most: Annotated[int, Form(ge=1, le=300, description="At most so many codes.")] = coding.MOST,
        version: Annotated[api_icd.Table, Form(description=_TABLE)] = None,
    ) -> Response:
        """The same for an uploaded document, with the text that was read; nothing of it is kept."""
        name = file.filename or "document"
        answer: Response = await work(partial(api_icd.coded_file, workspace, name, file.file, model, most, version))
        return answer

    @app.get("/codes", summary="Search the code tables", tags=["codes"])
    async def search_codes(
        q: Annotated[str, Query(min_length=1, max_length=300, description="Words, a code, or its beginning.")],
        version: Annotated[Version, Query(description="Which table.")] = "icd10cm",
        limit: Annotated[int, Query(ge=1, le=api_icd.HITS_LIMIT, description="At most so many codes.")] = 10,
    ) -> Response:
        """Codes, best first; typos are forgiven."""
        answer: Response = await work(partial(api_icd.searched, q, version, limit))
        return answer

    @app.get("/codes/{code}", summary="Read one code", tags=["codes"])
    async def open_code(code: Annotated[str, PathField(description="E11.9, e119 or icd10cm:E11.9.")]) -> Response:
        """Its text, whether it is billable, its place in the tree, its notes and its mappings."""
        answer: Response = await work(partial(api_icd.opened, code))
        return answer


def _add_entities(app: FastAPI, workspace: Workspace, work: Callable[..., Any]) -> None:
    @app.post("/entities", summary="Find the medical entities of a text", tags=["answers"])
    async def find_entities(question: EntitiesIn) -> Response:
        """What a text names, where, what it means in each source, and whether it is said of the patient and of now."""
        answer: Response = await work(partial(_entities, workspace, question))
        return answer

    @app.get("/dictionaries", summary="List the dictionaries of terms", tags=["codes"])
    async def list_dictionaries() -> Response:
        """Lists that users brought, such as MeSH: id, name, concepts, terms."""
        answer: Response = await work(partial(dictionaries.cards, workspace))
        return answer


def _entities(workspace: Workspace, question: EntitiesIn) -> dict[str, Any]:
    wanted = question.dictionaries
    names = [str(card["id"]) for card in dictionaries.cards(workspace)] if wanted is None else wanted
    held = [dictionaries.load(workspace, name) for name in names]
    found = entities.find(question.text, held, question.codes, question.scispacy)
    return {"entities": [one.as_json() for one in found]}


def _add_comparison(app: FastAPI, workspace: Workspace, work: Callable[..., Any]) -> None:
    @app.get("/compare", summary="Compare models judged on the same test items", tags=["models"])
    async def compare(
        model: Annotated[
            list[str], Query(min_length=2, max_length=20, description="Model ids; give it several times.")
        ],
        metric: Annotated[str, Query(description="What decides; the task's own when left out.")] = "",
    ) -> Response:
        """Who beats whom and by how much, with intervals and paired tests; models judged on other items are named."""
        answer: Response = await work(partial(comparing_sheet.compared, workspace, model, metric))
        return answer


_DATASET = PathField(description="Id or name of a dataset, as GET /datasets lists it.")


def _add_datasets(app: FastAPI, workspace: Workspace, work: Callable[..., Any]) -> None:
    @app.get("/datasets", summary="List the datasets", tags=["datasets"])
    async def list_datasets() -> Response:
        """Newest first: id, name, job, rows, labels, splits; ask for one of them to get its whole card."""
        answer: Response = await work(partial(api_data.listed, workspace))
        return answer

    @app.get("/datasets/{dataset}", summary="Describe a dataset", tags=["datasets"])
    async def describe(dataset: Annotated[str, _DATASET]) -> Response:
        """Its card: labels with counts, splits, where it came from, what was found wrong, and whether it has a tree."""
        answer: Response = await work(partial(api_data.described, workspace, dataset))
        return answer

    @app.post("/datasets", summary="Import files as a dataset", tags=["datasets"])
    async def bring(
        files: Annotated[list[UploadFile], File(description="Texts in any format, or pictures with their table.")],
        columns: Annotated[dict[str, str], Depends(_columns)],
        task: Annotated[str, Form(description="The job: literature, icd or lesion.")] = "literature",
        name: Annotated[str, Form(max_length=200, description="Its name; the first file's when left out.")] = "",
        shares: Annotated[str, Form(description="Train, validation and test shares, percent.")] = "70/15/15",
        own_split: Annotated[bool, Form(description="Use the file's own splits.")] = False,
        seed: Annotated[int, Form(ge=0, description="Seed of the split.")] = 0,
        licence: Annotated[str, Form(max_length=2000, description="Licence or terms of the data.")] = "",
    ) -> Response:
        """The same reading, judging and splitting as on the Datasets page; the card comes back with its findings."""
        sent = [(file.filename or "upload", file.file) for file in files]
        about: dict[str, Any] = {"task": task, "name": name, "shares": shares, "own_split": own_split}
        about |= {"seed": seed, "licence": licence, "chosen": columns}
        answer: Response = await work(partial(api_data.brought, workspace, sent, **about))
        return answer


def _columns(
    title: Annotated[str, Form(description="Column of the title; guessed when left out.")] = "",
    text: Annotated[str, Form(description="Column of the text; guessed when left out.")] = "",
    labels: Annotated[str, Form(description="Column of the labels; guessed when left out.")] = "",
    id: Annotated[str, Form(description="Column of the item's id; guessed when left out.")] = "",
    group: Annotated[str, Form(description="Column of what must stay together, e.g. the patient.")] = "",
    split: Annotated[str, Form(description="Column with the file's own splits.")] = "",
) -> dict[str, str]:
    named = {"title": title, "text": text, "labels": labels, "id": id, "group": group, "split": split}
    return {role: column for role, column in named.items() if column}


def _add_trees(app: FastAPI, workspace: Workspace, work: Callable[..., Any]) -> None:
    @app.get("/datasets/{dataset}/tree", summary="Read the tree of a dataset's labels", tags=["datasets"])
    async def read_tree(dataset: Annotated[str, _DATASET]) -> Response:
        """What stands above each label, and how large the tree is; an empty object without one."""
        answer: Response = await work(partial(api_data.tree_of, workspace, dataset))
        return answer

    @app.put("/datasets/{dataset}/tree", summary="Set the tree of a dataset's labels", tags=["datasets"])
    async def write_tree(dataset: Annotated[str, _DATASET], tree: TreeIn) -> Response:
        """In place of an earlier one. Runs that start afterwards answer for its groups; models keep what they had."""
        asked = (dataset, tree.text, tree.parents, tree.ready, tree.leave_out)
        answer: Response = await work(partial(api_data.set_tree, workspace, *asked))
        return answer

    @app.delete("/datasets/{dataset}/tree", summary="Take the tree of a dataset's labels away", tags=["datasets"])
    async def remove_tree(dataset: Annotated[str, _DATASET]) -> Response:
        """Models that were trained with it keep theirs."""
        answer: Response = await work(partial(api_data.remove_tree, workspace, dataset))
        return answer
