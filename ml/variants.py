"""The variants of a version: one network, exported to compute with other numbers; what each loses and gains."""

import platform
from collections.abc import Sequence
from pathlib import Path

from ml.config import Frozen, Variant

MOST_AUC_LOST, MOST_ACCURACY_LOST = 0.005, 0.01
LEAST_WITHIN = 0.95  # of the validation images, where the version has a guard


class Measured(Frozen):
    """What one file does on the split 'validation', at the version's operating point."""

    variant: Variant
    size_mb: float
    accuracy: float | None
    auc: float | None
    within: float | None = None  # share of images that the guard lets pass
    images_per_s: float  # one image after another, on one thread


class Variants(Frozen):
    """The files side by side, the exact one first; `processor` is where their speed was measured."""

    n: int
    processor: str
    measured: tuple[Measured, ...]
    refused_because: str | None = None  # why the last one is not offered for activation

    @staticmethod
    def of(n: int, measured: Sequence[Measured]) -> "Variants":
        """With the verdict."""
        exact, smaller = measured
        return Variants(n=n, processor=processor(), measured=(exact, smaller), refused_because=_refusal(exact, smaller))


def _refusal(exact: Measured, smaller: Measured) -> str | None:
    """Why the smaller file may not serve; None where it may."""
    for name, most in (("auc", MOST_AUC_LOST), ("accuracy", MOST_ACCURACY_LOST)):
        before, after = getattr(exact, name), getattr(smaller, name)
        if before is not None and (after is None or before - after > most):
            lost = "all" if after is None else f"{before - after:.4f}"
            return f"On validation it loses {lost} of the {name}; at most {most:g} is accepted."
    if smaller.within is not None and smaller.within < LEAST_WITHIN:
        return f"Its guard lets only {smaller.within:.1%} of the validation images pass; {LEAST_WITHIN:.0%} are needed."
    return None


def processor() -> str:
    """The processor in words, and whether it multiplies integers of eight bits with VNNI."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return f"{name or platform.machine()}, {'with' if 'vnni' in text else 'without'} VNNI"
