"""What tests share. Set before numpy or torch start their threads, so here at the top."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("MEDBENCH_HOME", None)

import shutil
from pathlib import Path

import numpy as np
import pytest

from medbench.events import Say
from medbench.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


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
