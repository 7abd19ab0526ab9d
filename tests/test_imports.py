"""A fresh interpreter imports the command line, and every room but the pages' own, without the slow libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SLOW = {"torch", "torchvision", "transformers", "peft", "accelerate", "timm", "sentence_transformers", "shap", "mlflow"}
NOT_FOR_THE_COMMAND_LINE = SLOW | {"streamlit", "pandas", "sklearn", "scipy", "pyarrow", "duckdb", "plotly", "fastapi"}


def loaded_after(names: list[str]) -> set[str]:
    """Top-level packages in `sys.modules` after a fresh interpreter imported `names`."""
    program = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_slow_library_would_be_noticed() -> None:
    assert "pandas" in loaded_after(["pandas"])
    assert "pandas" not in loaded_after(["medbench"])


@pytest.mark.skipif(find_spec("medbench.cli") is None, reason="there is no command line yet")
def test_the_command_line_starts_without_slow_libraries() -> None:
    assert loaded_after(["medbench.cli", "medbench.__main__"]) & NOT_FOR_THE_COMMAND_LINE == set()


def test_no_room_imports_torch_when_it_is_read() -> None:
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "medbench").rglob("*.py")]
    rooms = [".".join(path.parts).removesuffix(".__init__") for path in paths if not path.name.startswith("ui")]
    assert "medbench.families" in rooms
    assert loaded_after(rooms) & (SLOW | {"streamlit"}) == set()
