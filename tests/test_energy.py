"""Energy is counted where the machine counts it, wraps and all; where it does not, a sentence says why."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from medbench import energy


def zone(root: Path, name: str, of: str, micro: int, span: int = 1_000_000_000) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{of}\n")
    (folder / "energy_uj").write_text(f"{micro}\n")
    (folder / "max_energy_range_uj").write_text(f"{span}\n")
    return folder / "energy_uj"


def test_packages_and_memory_are_added_up_over_a_wrap(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 999_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 0)
    memory = zone(tmp_path, "intel-rapl:0:0", "dram", 5_000_000)
    core, whole = zone(tmp_path, "intel-rapl:0:1", "core", 0), zone(tmp_path, "intel-rapl:2", "psys", 0)
    meter = energy.Meter(powercap=tmp_path)
    first.write_text("1000000")  # from 999 J over 1,000 J to 1 J: 2 J
    second.write_text("3000000")
    memory.write_text("5500000")
    for inside in (core, whole):  # they count what the packages count as well
        inside.write_text("9000000")
    cost = meter.spent()
    assert cost["energy"] == {"joules": {"processor": 5.0, "memory": 0.5}, "not_measured": []}
    assert energy.joules_of(cost) == 5.5
    assert energy.words(cost) == (
        "0.00153 Wh (processor 0.00139 Wh, memory 0.000139 Wh; whole devices, other programs included)"
    )
    assert energy.watt_hours(7.2e6) == "2 kWh"


def test_counters_that_are_closed_absent_or_break_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = energy.Meter(powercap=tmp_path / "none").spent()
    assert energy.words(nothing) == "not measurable here: this machine shows no counter of its processor"
    assert energy.joules_of(nothing) is None and energy.words({}) == ""
    file = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    breaking = energy.Meter(powercap=tmp_path)
    file.unlink()
    assert "the counter of the processor failed" in energy.words(breaking.spent())
    file.write_text("0")
    read = Path.read_text

    def closed(self: Path, *args: str) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(self, *args)

    monkeypatch.setattr(Path, "read_text", closed)  # the tests may run as root, whom no permission stops
    told = energy.words(energy.Meter(powercap=tmp_path).spent())
    assert told == "not measurable here: the processor's counter may be read by the administrator only"


def test_a_gpu_is_found_by_the_name_that_cuda_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    used = iter([1_000.0, 4_600.0])
    library = types.ModuleType("pynvml")  # NVIDIA's library, of which only four names are used
    library.NVMLError = type("NVMLError", (Exception,), {})  # type: ignore[attr-defined]
    library.nvmlInit = lambda: None  # type: ignore[attr-defined]
    library.nvmlDeviceGetHandleByIndex = lambda index: asked.append(index)  # type: ignore[attr-defined]
    library.nvmlDeviceGetHandleByUUID = lambda name: asked.append(name)  # type: ignore[attr-defined]
    library.nvmlDeviceGetTotalEnergyConsumption = lambda _: next(used)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    cost = energy.Meter("cuda:1", powercap=tmp_path).spent()
    assert asked == ["GPU-abc"] and cost["energy"]["joules"] == {"gpu": 3.6}
    assert "GPU 0.001 Wh" in energy.words(cost) and "not counted: this machine shows no counter" in energy.words(cost)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py" in energy.words(energy.Meter("cuda:0", powercap=tmp_path).spent())


def test_the_installed_library_has_the_names_that_are_used() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = ("nvmlInit", "NVMLError", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByUUID")
    assert all(hasattr(pynvml, name) for name in (*names, "nvmlDeviceGetTotalEnergyConsumption"))
