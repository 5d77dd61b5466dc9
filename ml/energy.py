"""Energy that a run took, where the machine counts it: the processor packages' RAPL counters under Linux."""

import time
from pathlib import Path

COUNTERS = Path("/sys/class/powercap")
_READ_EVERY_S = 30.0  # counters run over; at 500 W the smallest does so after several minutes


class EnergyMeter:
    """Adds up what the processors take, of all programs on the machine, from its creation on."""

    def __init__(self, folder: Path = COUNTERS) -> None:
        # intel-rapl:0 is a package; intel-rapl:0:1 is a part of it, counted already. AMD's are named so, too.
        self._zones = sorted(path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1)
        self._last = {zone: _number(zone / "energy_uj") for zone in self._zones}
        self._joules = 0.0
        self._is_readable = bool(self._zones) and None not in self._last.values()
        self._read_at_s = time.monotonic()

    def tick(self) -> None:
        """To be called often: reads the counters now and then, before one runs over twice."""
        if time.monotonic() - self._read_at_s >= _READ_EVERY_S:
            self._read()

    def joules(self) -> float | None:
        """The energy until now; None where it is not counted, or not for this user to read."""
        self._read()
        return self._joules if self._is_readable else None

    def _read(self) -> None:
        self._read_at_s = time.monotonic()
        for zone in self._zones if self._is_readable else ():
            before, now = self._last[zone], _number(zone / "energy_uj")
            if now is None or before is None:
                self._is_readable = False
                return
            ran_over = now < before
            self._joules += (now - before + (_number(zone / "max_energy_range_uj") or 0) * ran_over) / 1e6
            self._last[zone] = now


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
