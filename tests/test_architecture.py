"""The house stands as it was drawn: who imports whom, where state changes, and what is never done."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"jax", "onnx", "onnxscript", "optuna", "pandas", "plotly", "scipy", "sklearn", "tensorflow"}
HEAVY |= {"torch", "torchvision"}


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    """Path and text of each Python file."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def occurrences(pattern: str, *folders: str) -> set[str]:
    return {path for path, text in sources(*folders) if re.search(pattern, text)}


@pytest.mark.parametrize("module", ["wsgi", "webapp.gunicorn", "jobs.janitor", "jobs.worker"])
def test_a_process_that_does_not_train_never_imports_what_training_needs(module: str, tmp_path: Path) -> None:
    """The web image has none of it, and a worker's child must find CUDA untouched."""
    program = f"import {module}, sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {HEAVY}))"
    environment = {"APP_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_import_contracts_are_kept() -> None:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_environment_is_read_in_one_place() -> None:
    """The demonstration hands its own on to the programs that it starts; three libraries are told how to behave."""
    found = {
        path
        for path, text in sources("ml", "webapp", "jobs", "migrations")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv")
        if ast.unparse(node) != "request.environ"  # of one request, not of the process
    }
    assert found <= {"webapp/demo.py", "ml/onnx_runtime.py", "ml/peers.py", "ml/threads.py"}


def test_views_and_models_change_no_state() -> None:
    found = occurrences(r"session\.(commit|add|delete|flush)\b", "webapp")
    stateless = ("views.py", "database.py", "models.py", "bodies.py", "schemas.py", "pages.py")
    assert not {path for path in found if path.endswith(stateless)}


def test_no_function_is_async() -> None:
    """`webapp.Site` calls whatever it calls without asking."""
    assert not occurrences(r"\basync def\b", "webapp")


def test_nothing_that_is_read_can_run_code() -> None:
    calls = r"\b(pickle|marshal|shelve|dill|joblib)\.(load|Unpickler|open)|(?<![\w.])(eval|exec)\("
    options = r"allow_pickle\s*=\s*True|weights_only\s*=\s*False"
    # The one exception knows inert stand-ins and nothing else: tests/ml/test_cifar.py shows that nothing runs.
    assert set(occurrences(f"{calls}|{options}", "ml", "webapp", "jobs")) == {"ml/cifar.py"}
    for path, text in sources("ml", "webapp", "jobs"):
        for call in re.findall(r"\btorch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, path


def test_no_template_writes_unescaped_text() -> None:
    for path in sorted((ROOT / "templates").rglob("*.html")):
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", text), path.name
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", text), f"{path.name}: inline script"
        assert not re.search(r"\son\w+\s*=", text), f"{path.name}: inline event handler"


def test_modules_stay_small() -> None:
    """A file that grows has no theme: split it by noun."""
    for path, text in sources("ml", "webapp", "jobs"):
        limit = 400 if path == "webapp/models.py" else 300
        assert len(text.splitlines()) <= limit, path


def test_no_module_is_named_after_nothing() -> None:
    names = {Path(path).stem for path, _ in sources("ml", "webapp", "jobs", "tests", "benchmarks")}
    assert names.isdisjoint({"utils", "util", "helpers", "helper", "common", "core", "manager", "managers", "misc"})
