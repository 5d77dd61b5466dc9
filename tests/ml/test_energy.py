"""The energy of a run: what is counted, what runs over, what cannot be read, and what earlier attempts took."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ml import energy
from ml.energy import Counter, EnergyMeter


def counters(folder: Path, **microjoules: int) -> Path:
    for name, value in microjoules.items():
        zone = folder / name.replace("_", ":").replace("rapl", "intel-rapl")
        zone.mkdir(exist_ok=True)
        (zone / "energy_uj").write_text(f"{value}\n", encoding="ascii")
        (zone / "max_energy_range_uj").write_text("1000000000\n", encoding="ascii")
    return folder


def meter_of(folder: Path) -> EnergyMeter:
    return EnergyMeter(energy.processors(folder))


def reads(*joules: float | None) -> Callable[[], float | None]:
    """A counter that says one after the other, and the last for ever."""
    left = list(joules)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_the_packages_are_added_up_and_their_parts_not_counted_twice(tmp_path: Path) -> None:
    meter = meter_of(counters(tmp_path, rapl_0=1_000_000, rapl_1=0, rapl_0_0=0))
    counters(tmp_path, rapl_0=4_000_000, rapl_1=500_000, rapl_0_0=2_000_000)
    assert meter.energy() == (3.5, ("processors",))


def test_a_counter_that_ran_over_goes_on(tmp_path: Path) -> None:
    meter = meter_of(counters(tmp_path, rapl_0=999_000_000))
    counters(tmp_path, rapl_0=2_000_000)
    assert meter.energy() == (3.0, ("processors",))


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert meter_of(tmp_path).energy() is None
    meter = meter_of(counters(tmp_path, rapl_0=5))
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    meter.tick()
    assert meter.energy() is None
    counters(tmp_path, rapl_0=9_000_000)
    assert meter.energy() is None  # what it took meanwhile is not known


def test_gpus_and_processors_count_together_and_are_named() -> None:
    both = [Counter("processors", reads(5, 7)), Counter("GPUs", reads(100, 150)), Counter("GPUs", reads(0, 30))]
    assert EnergyMeter(both).energy() == (82, ("processors", "GPUs"))


def test_a_gpu_counts_alone_where_the_processors_cannot_be_read_but_not_the_other_way_round() -> None:
    unknown = {part: Counter(part, reads(None)) for part in energy.PARTS}
    assert EnergyMeter([unknown["processors"], Counter("GPUs", reads(1, 3))]).energy() == (2, ("GPUs",))
    assert EnergyMeter([Counter("processors", reads(1, 3)), unknown["GPUs"]]).energy() is None


def test_attempts_are_added_up_and_one_that_could_not_read_leaves_the_part_unknown() -> None:
    first = EnergyMeter([Counter("processors", reads(10, 14))]).sums()
    assert first == {"processors": 4, "GPUs": 0}
    second = EnergyMeter([Counter("processors", reads(500, 501))], first)
    assert second.energy() == (5, ("processors",))
    blind = EnergyMeter([Counter("processors", reads(None))], first).sums()
    assert EnergyMeter([Counter("processors", reads(1, 2))], blind).energy() is None
    assert EnergyMeter([Counter("processors", reads(1, 2))], {}).energy() is None  # of a release that kept no sums


class FakeNvml(ModuleType):
    """A driver with one GPU, as the package pynvml shows it."""

    class NVMLError(Exception):
        pass

    def __init__(self, *millijoules: int) -> None:
        super().__init__("pynvml")
        self.left = list(millijoules)

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != "GPU-1":
            raise self.NVMLError
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        assert handle == "handle"
        if not self.left:
            raise self.NVMLError
        return self.left.pop(0)


def test_a_gpu_is_found_by_its_name_and_read_in_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(1_000, 4_500))
    assert EnergyMeter([energy.gpu("GPU-1")]).energy() == (3.5, ("GPUs",))
    assert energy.gpu("GPU-2").read_j() is None
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(1_000))
    assert EnergyMeter([energy.gpu("GPU-1")]).energy() is None  # fell silent


def test_without_the_package_a_gpu_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.gpu("GPU-1").read_j() is None


def test_a_run_on_gpus_asks_each_of_them_and_one_on_the_processor_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_of_gpu", lambda index: Counter("GPUs", lambda: float(index)))
    parts = [[one.part for one in energy.counters_of(torch.device(name), 2, tmp_path)] for name in ("cuda", "cpu")]
    assert parts == [["processors", "GPUs", "GPUs"], ["processors"]]
