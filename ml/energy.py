"""Energy that a run took, where the machine counts it: that of the processors, and on a GPU that of the GPUs as well.

Counters count what everybody takes, and go on when a run ends; an attempt adds up what they rise by meanwhile. Its sums
travel with the checkpoint, and the next attempt, on whichever machine, adds its own to them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

Part = Literal["processors", "GPUs"]
PARTS: tuple[Part, ...] = ("processors", "GPUs")
Sums = dict[str, float | None]  # in joules, by part; None where an attempt could not read it
COUNTERS = Path("/sys/class/powercap")
_READ_EVERY_S = 30.0  # counters run over; at 500 W the smallest does so after several minutes


@dataclass(frozen=True)
class Counter:
    """What a part of the machine has taken since some moment."""

    part: Part
    read_j: Callable[[], float | None]  # None where it cannot be read
    range_j: float = 0.0  # at which it begins at 0 again; 0: never


class Energy(NamedTuple):
    """What a run took in all of its attempts, and the parts that were counted."""

    joules: float
    parts: tuple[str, ...]


def counters_of(device: torch.device, devices: int, folder: Path = COUNTERS) -> list[Counter]:
    """The counters of a run on so many devices; at least one for each part that it works with, readable or not."""
    return processors(folder) + ([_of_gpu(index) for index in range(devices)] if device.type == "cuda" else [])


def processors(folder: Path = COUNTERS) -> list[Counter]:
    """RAPL's, one for each processor package, under Linux."""
    # intel-rapl:0 is a package; intel-rapl:0:1 is a part of it, counted already. AMD's are named so, too.
    zones = sorted(path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1)
    unknown = Counter("processors", lambda: None)
    return [_of_package(zone) for zone in zones] or [unknown]


def _of_package(zone: Path) -> Counter:
    return Counter("processors", lambda: _joules(zone / "energy_uj"), _joules(zone / "max_energy_range_uj") or 0)


def _joules(path: Path) -> float | None:
    try:
        return int(path.read_text(encoding="ascii")) / 1e6
    except (OSError, ValueError):
        return None


def _of_gpu(index: int) -> Counter:
    """That of the GPU which torch calls so; its name is the same for the driver, whose own numbers are others."""
    return gpu(f"GPU-{torch.cuda.get_device_properties(index).uuid}")


def gpu(uuid: str) -> Counter:
    """NVML's, which counts from the moment when the driver was loaded; older GPUs than Volta have none."""
    try:
        import pynvml  # a package of workers only

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except ImportError:
        return Counter("GPUs", lambda: None)
    except pynvml.NVMLError:
        return Counter("GPUs", lambda: None)
    return Counter("GPUs", lambda: _millijoules(pynvml, handle))


def _millijoules(nvml: Any, handle: Any) -> float | None:
    try:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
    except nvml.NVMLError:
        return None


class EnergyMeter:
    """Adds what the counters rise by, from its creation on, to what earlier attempts took."""

    def __init__(self, counters: Sequence[Counter], earlier: Sums | None = None) -> None:
        """`earlier` are the sums of the attempts before; None in the first one."""
        self._counters = counters
        self._sums: Sums = {part: 0.0 if earlier is None else earlier.get(part) for part in PARTS}
        self._last = [counter.read_j() for counter in counters]
        for counter, now_j in zip(counters, self._last, strict=True):
            self._add(counter.part, None if now_j is None else 0.0)
        self._read_at_s = time.monotonic()

    def tick(self) -> None:
        """To be called often: reads the counters now and then, before one runs over twice."""
        if time.monotonic() - self._read_at_s >= _READ_EVERY_S:
            self._read()

    def sums(self) -> Sums:
        """Until now; a part that was not used has 0."""
        self._read()
        return dict(self._sums)

    def energy(self) -> Energy | None:
        """Until now; None where a GPU could not be read, or nothing could."""
        sums = self.sums()
        counted = {part: joules for part, joules in sums.items() if joules}
        return Energy(sum(counted.values()), tuple(counted)) if counted and sums["GPUs"] is not None else None

    def _read(self) -> None:
        self._read_at_s = time.monotonic()
        for at, (counter, before_j) in enumerate(zip(self._counters, self._last, strict=True)):
            now_j = self._last[at] = counter.read_j()
            if now_j is None or before_j is None:
                self._add(counter.part, None)
            else:
                self._add(counter.part, now_j - before_j + counter.range_j * (now_j < before_j))

    def _add(self, part: str, joules: float | None) -> None:
        """A part that could not be read once stays unknown."""
        sum_j = self._sums[part]
        self._sums[part] = None if sum_j is None or joules is None else sum_j + joules
