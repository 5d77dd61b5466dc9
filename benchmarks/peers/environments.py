"""An environment for each peer, made once with pip and kept in the user's cache."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = {"mosec": "0.9.8", "litserve": "0.2.19", "bentoml": "1.4.40"}
BESIDE = {"litserve": ("python-multipart==0.0.20",)}  # what it needs for forms
SHARED = ("numpy", "pillow", "onnxruntime", "pydantic", "pydicom", "regex")  # what scoring needs, as it is here


def python_of(peer: str) -> Path:
    """The interpreter of the peer's environment, which is made where there is none yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "breast-imaging-platform" / "peers"
    folder = cache / f"{peer}-{PEERS[peer]}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = [f"{peer}=={PEERS[peer]}", *(f"{name}=={version(name)}" for name in SHARED), *BESIDE.get(peer, ())]
    if not stamp.is_file() or stamp.read_text().split() != wanted:
        print(f"Installing {wanted[0]} into {folder} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*map(str, pip), *wanted], check=True)
        stamp.write_text("\n".join(wanted))
    return python
