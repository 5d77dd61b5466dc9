"""The energy of a run."""

from pathlib import Path

from ml.energy import EnergyMeter


def counters(folder: Path, **microjoules: int) -> Path:
    for name, value in microjoules.items():
        zone = folder / name.replace("_", ":").replace("rapl", "intel-rapl")
        zone.mkdir(exist_ok=True)
        (zone / "energy_uj").write_text(f"{value}\n", encoding="ascii")
        (zone / "max_energy_range_uj").write_text("1000000000\n", encoding="ascii")
    return folder


def test_the_packages_are_added_up_and_their_parts_not_counted_twice(tmp_path: Path) -> None:
    meter = EnergyMeter(counters(tmp_path, rapl_0=1_000_000, rapl_1=0, rapl_0_0=0))
    counters(tmp_path, rapl_0=4_000_000, rapl_1=500_000, rapl_0_0=2_000_000)
    assert meter.joules() == 3.5


def test_a_counter_that_ran_over_goes_on(tmp_path: Path) -> None:
    meter = EnergyMeter(counters(tmp_path, rapl_0=999_000_000))
    counters(tmp_path, rapl_0=2_000_000)
    assert meter.joules() == 3.0


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path).joules() is None
    meter = EnergyMeter(counters(tmp_path, rapl_0=5))
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    meter.tick()
    assert meter.joules() is None
