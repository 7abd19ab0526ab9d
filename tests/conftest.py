"""What tests share. Set before numpy or torch start their threads, so here at the top."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("MEDBENCH_HOME", None)

import fcntl
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from medbench.events import Say
from medbench.workspace import Workspace

# How long an invented example takes says how busy the machine is, not whether the code is right.
settings.register_profile("medbench", deadline=None)
settings.load_profile("medbench")
ROOT = Path(__file__).resolve().parent.parent
HUNG = 300
"""Seconds after which what is waited for is taken to hang, however busy the machine is."""


def until(happened: Callable[[], object]) -> None:
    """Wait until something has happened; fails when it hangs."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < HUNG, "what was waited for did not happen"
        time.sleep(0.02)


# Few tests, long ones: begun last, one worker would do them while the others had nothing left.
LONG = (
    "before_tuning",
    "cluster",
    "cross_validation",
    "distillation",
    "ensemble_pictures",
    "notebooks",
    "pages_causal",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files begin in the order that keeps all workers busy: the long ones, then those with the most tests."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.stem.removeprefix("test_") not in LONG, -tests[item.path], item.path))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace of the test's own."""
    place = Workspace.here(tmp_path / "home")
    place.data.mkdir(parents=True)
    place.models.mkdir(parents=True)
    return place


@pytest.fixture
def home(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same, and also what MEDBENCH_HOME names: for the doors (app, command line, API), which look there."""
    monkeypatch.setenv("MEDBENCH_HOME", str(workspace.data.parent))
    return workspace


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20_261)


@pytest.fixture
def say() -> Say:
    """Events that are kept in `say.said` instead of a file."""
    return Say()


@pytest.fixture(scope="session")
def samples() -> Path:
    """The shipped, invented samples."""
    return ROOT / "data" / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data for building; the test is skipped where it is absent."""
    folder = Path(os.environ.get("MEDBENCH_SHARED") or ROOT.parent / "shared") / "data"
    if not folder.is_dir():
        pytest.skip("MEDBENCH_SHARED names no folder with data")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of an installed Chromium; the test is skipped where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found


TOPICS = {
    "cardiology": "heart infarction coronary ventricular arrhythmia stent angina myocardial",
    "oncology": "tumour carcinoma chemotherapy metastasis lymphoma neoplasm radiotherapy biopsy",
    "neurology": "seizure stroke epilepsy cortex migraine dementia neuropathy cerebral",
}
FILLER = (
    "patients",
    "treatment",
    "study",
    "outcome",
    "risk",
    "dose",
    "group",
    "trial",
    "effect",
    "months",
    "clinical",
    "control",
    "rate",
    "follow",
    "up",
)


def planted_csv(path: Path, rows: int = 150, seed: int = 0) -> Path:
    """Write invented abstracts with one or two labels each; a label shows in its own words."""
    import csv

    draw = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["pmid", "title", "abstract", "labels", "year"])
        for number in range(rows):
            labels = sorted(draw.choice(list(TOPICS), size=1 + int(draw.random() < 0.3), replace=False))
            words = [word for label in labels for word in draw.choice(TOPICS[label].split(), 5)]
            words += list(draw.choice(FILLER, 25))
            draw.shuffle(words)
            title = f"A trial of {draw.choice(TOPICS[labels[0]].split())} in {number} patients"
            writer.writerow([f"9{number:05d}", title, " ".join(words).capitalize() + ".", ";".join(labels), 2020])
    return path


def import_planted(place: Workspace, folder: Path, name: str = "planted", rows: int = 150) -> str:
    """Import the invented abstracts the way every door does; return the dataset's id."""
    from medbench import datasets, drafting
    from medbench.tasks import get_task

    task = get_task("literature")
    file = planted_csv(folder / f"{name}.csv", rows)
    draft = drafting.draft([(file, file.name)], task_name=task.name, clean_label=task.clean_label)
    return datasets.save(place, draft, name=name, licence="CC0, invented")


def once(folders: pytest.TempPathFactory, name: str, make: Callable[[Path], str]) -> tuple[Workspace, str]:
    """Return a workspace that one of the workers made for all of them, and what `make` returned.

    Args:
        folders: Where temporary folders lie.
        name: Of the folder.
        make: Fills the folder, a workspace, and returns an id.
    """
    own = folders.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with shared.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        told = shared / "made.txt"
        if not told.exists():
            shutil.rmtree(shared, ignore_errors=True)
            shared.mkdir()
            told.write_text(make(shared), encoding="utf-8")
    return Workspace.here(shared), told.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace with a dataset and a linear model that a real run left; treat it as read-only."""
    return once(tmp_path_factory, "trained", _train)


def _train(folder: Path) -> str:
    from medbench import runs
    from medbench.records import RunSpec

    place = Workspace.here(folder)
    dataset = import_planted(place, folder)
    run_id = runs.start(place, RunSpec(task="literature", family="linear", dataset=dataset))
    *_, last = runs.follow(place, run_id)
    assert last["kind"] == "finished", (last, (place.run(run_id) / "log.txt").read_text()[-3000:])
    return run_id


@pytest.fixture
def full_workspace(trained: tuple[Workspace, str], tmp_path: Path) -> Workspace:
    """A copy of the trained workspace that the test may change."""
    shutil.copytree(trained[0].data.parent, tmp_path / "full")
    return Workspace.here(tmp_path / "full")


@pytest.fixture
def dataset_id(full_workspace: Workspace) -> str:
    """The id of the dataset in `full_workspace`."""
    from medbench import datasets

    return str(datasets.list_datasets(full_workspace)[0]["id"])


@pytest.fixture
def place(full_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """`full_workspace`, named by MEDBENCH_HOME."""
    monkeypatch.setenv("MEDBENCH_HOME", str(full_workspace.data.parent))
    return full_workspace


@pytest.fixture
def first(trained: tuple[Workspace, str]) -> str:
    """The id of the model that a run left in `full_workspace`."""
    return trained[1]


@pytest.fixture(scope="session")
def trained_lesions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace with drawn lesions and a tiny picture network that a real run left; treat it as read-only."""
    return once(tmp_path_factory, "lesions", _train_lesions)


def _train_lesions(folder: Path) -> str:
    from tiny_lesions import train_lesions

    place = Workspace.here(folder)
    place.data.mkdir(parents=True)
    return train_lesions(place, folder)
