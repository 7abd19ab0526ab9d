"""The notebook runs from its first cell to its last, as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MEDBENCH_HOME", str(tmp_path))
    cells = json.loads((ROOT / "notebooks" / "from_python.ipynb").read_text(encoding="utf-8"))["cells"]
    space: dict[str, object] = {}
    for cell in cells:
        assert not cell.get("outputs"), "outputs are not kept: they would grow old"
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), space)  # our own cells
    told = capsys.readouterr().out
    assert "(chosen)" in told and "E11.9" in told and "apart:" in told and "finished" in told
    assert "left out because the model learnt from them" in told
