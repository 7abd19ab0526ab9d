"""How much energy a stretch of work took, where the machine counts it itself: nothing is estimated, nothing is sent.

Processors count in the RAPL counters under /sys/class/powercap (Linux; Intel, and AMD since Zen), GPUs of NVIDIA
through NVML (package `nvidia-ml-py`, extra `energy`). Both count a whole device, other programs included.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
JOULES_OF_A_WATT_HOUR = 3600.0
_EVERY = 30.0  # seconds; a counter of a busy server wraps after minutes
_ZONES = {"package": "processor", "dram": "memory"}  # other zones lie inside these, or around them


class Counter:
    """One counter that only grows until it wraps.

    Attributes:
        part: What it counts for: "processor", "memory" or "gpu".
        joules: What it has counted since it was made.
    """

    def __init__(self, part: str, read: Callable[[], float], span: float = 0.0) -> None:
        """Begin; `read` returns joules, and starts anew from 0 after `span` of them (0: never)."""
        self.part, self.joules = part, 0.0
        self._read, self._span = read, span
        self._last = read()

    def look(self) -> None:
        """Add what has been used since the last look."""
        now = self._read()
        self.joules += now - self._last + (self._span if now < self._last else 0.0)
        self._last = now


class Meter:
    """Counts time and energy from when it is made until it is read."""

    def __init__(self, device: str = "cpu", powercap: Path = POWERCAP) -> None:
        """Begin to count, the processor and, for a device like "cuda:0", that GPU."""
        self._began = time.monotonic()
        self.missing: list[str] = []
        self.counters = [*_processor(powercap, self.missing), *_gpu(device, self.missing)]
        self._stop, self._lock = threading.Event(), threading.Lock()
        if self.counters:
            threading.Thread(target=self._watch, name="energy", daemon=True).start()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for counter in list(self.counters):
                try:
                    counter.look()
                except Exception as error:  # noqa: BLE001 - a counter that fails must not end a training
                    self.counters.remove(counter)
                    self.missing.append(f"the counter of the {counter.part} failed ({error})")

    def spent(self) -> dict[str, Any]:
        """Stop counting; return, JSON-ready, "seconds" and "energy": "joules" by part, and why parts are missing."""
        self._stop.set()
        self._look()
        joules: dict[str, float] = {}
        for counter in self.counters:
            joules[counter.part] = round(joules.get(counter.part, 0.0) + counter.joules, 3)
        energy = {"joules": joules, "not_measured": self.missing}
        return {"seconds": round(time.monotonic() - self._began, 1), "energy": energy}


def _processor(powercap: Path, missing: list[str]) -> list[Counter]:
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            part = _ZONES.get((zone / "name").read_text().strip().partition("-")[0])
            if part is None:
                continue
            span = float((zone / "max_energy_range_uj").read_text()) / 1e6
            file = zone / "energy_uj"
            found.append(Counter(part, lambda file=file: float(file.read_text()) / 1e6, span))  # type: ignore[misc]
        except PermissionError:
            missing.append("the processor's counter may be read by the administrator only")
            return []
        except (OSError, ValueError) as error:
            missing.append(f"the processor's counter cannot be read ({error})")
            return []
    if not found:
        missing.append("this machine shows no counter of its processor")
    return found


def _gpu(device: str, missing: list[str]) -> list[Counter]:
    if not device.startswith("cuda"):
        return []
    try:
        import pynvml
    except ImportError:
        missing.append('the GPU\'s counter needs the package nvidia-ml-py (pip install "medbench[energy]")')
        return []
    try:
        pynvml.nvmlInit()
        handle = _handle(pynvml, int(device.partition(":")[2] or 0))
        return [Counter("gpu", lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)]
    except pynvml.NVMLError as error:
        missing.append(f"the GPU does not count its energy ({error})")
        return []


def _handle(pynvml: Any, index: int) -> Any:
    """Return NVML's handle of the device that CUDA calls `index`: NVML does not know which devices a process sees."""
    seen = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    name = seen[index] if index < len(seen) else str(index)
    return pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(name)


def joules_of(cost: Mapping[str, Any]) -> float | None:
    """Return what a card's cost says of energy, all parts together; None where nothing was counted."""
    parts = cost.get("energy", {}).get("joules", {})
    return float(sum(parts.values())) if parts else None


def words(cost: Mapping[str, Any]) -> str:
    """Say what a run took, in watt hours; why not, where nothing was counted; "" for cards from before."""
    if "energy" not in cost:
        return ""
    parts, missing = cost["energy"]["joules"], "; ".join(cost["energy"]["not_measured"])
    if not parts:
        return f"not measurable here: {missing}" if missing else "not measurable here"
    names = {"gpu": "GPU"}
    each = ", ".join(f"{names.get(part, part)} {watt_hours(joules)}" for part, joules in parts.items())
    whole = f"{watt_hours(float(sum(parts.values())))} ({each}; whole devices, other programs included)"
    return f"{whole}; not counted: {missing}" if missing else whole


def watt_hours(joules: float) -> str:
    """Return an amount of energy with its unit, e.g. "0.42 Wh"."""
    hours = joules / JOULES_OF_A_WATT_HOUR
    return f"{hours:.3g} Wh" if hours < 1000 else f"{hours / 1000:.3g} kWh"
