"""The names of the benchmarks, one a line."""

import pkgutil
from pathlib import Path

for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if not module.ispkg and not module.name.startswith("_"):
        print(module.name)
