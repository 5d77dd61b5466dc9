"""Images and compose file: pinned, without root, torch only where it trains; dashboards ask what is measured."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from webapp.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile."""
    parts = re.split(r"^FROM (\S+) AS (\S+)\n", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    done = subprocess.run([PROGRAMS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_images_do_not_run_as_root() -> None:
    for name in ("web", "worker"):
        assert re.findall(r"^USER (.+)$", stages()[name], re.M) == ["10001:10001"]


def test_base_images_are_pinned() -> None:
    bases = re.findall(r"^FROM (\S+) AS", DOCKERFILE, re.M)
    assert {base for base in bases if base not in stages()} == {"${BASE}"}
    assert re.findall(r"^ARG BASE=(.+)$", DOCKERFILE, re.M) == ["python:3.11-slim"]


def test_images_carry_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^ARG VERSION=(.+)$", DOCKERFILE, re.M) == [version]
    assert {one["image"] for one in ours().values()} == {
        f"breast-imaging-platform/{name}:{version}" for name in ("web", "worker")
    }


def test_torch_is_in_the_image_of_the_workers_alone() -> None:
    assert not re.search(
        r"torch|train\.txt|training-", stages()["packages"] + stages()["web-packages"] + stages()["base"]
    )
    assert re.findall(r"^COPY --from=(\S+)", stages()["web"], re.M) == ["web-packages"]
    assert not re.search(r"^torch", (ROOT / "requirements" / "web.txt").read_text(), re.M)
    assert re.search(r"pip .* install .*-r requirements/torch\.txt", stages()["training-packages"])
    assert re.findall(r"^COPY --from=(\S+)", stages()["worker"], re.M) == ["training-packages"]


def test_only_what_runs_gets_into_an_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {"jobs", "migrations", "ml", "requirements", "static", "templates", "webapp", "wsgi.py"} <= let_in
    assert all((ROOT / name).exists() for name in let_in)
    assert let_in.isdisjoint({".git", ".venv", "tests", "var"})


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def ours() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in compose()["services"].items() if "build" in one}


def test_compose_gives_each_part_of_the_platform_settings_that_it_accepts() -> None:
    assert set(ours()) == {"migration", "web", "worker", "janitor"}
    for name, service in ours().items():
        given = {key.removeprefix("APP_").lower(): value for key, value in service["environment"].items()}
        given["secret_key"] = "s" * 32
        assert set(given) <= set(Settings.model_fields), name
        settings = Settings(env="production", **given)
        assert urlsplit(settings.storage).scheme == "s3"
        assert urlsplit(settings.s3_endpoint_url).hostname in compose()["services"]
        assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True), name


def test_compose_waits_for_what_it_needs_and_pins_it() -> None:
    services = compose()["services"]
    for name, service in services.items():
        needed = service.get("depends_on", {})
        assert set(needed) <= set(services), name
        assert all("healthcheck" in services[one] for one, how in needed.items() if "healthy" in how["condition"]), name
        assert re.search(r":v?\d+\.\d+", service["image"]), name
    volumes = [volume.partition(":")[0] for one in services.values() for volume in one.get("volumes", ())]
    assert {volume for volume in volumes if not volume.startswith("./")} == set(compose()["volumes"])
    assert all((ROOT / path).exists() for path in volumes if path.startswith("./monitoring"))


def test_dashboards_and_alerts_ask_for_what_the_platform_measures() -> None:
    text = "".join(path.read_text() for path in (ROOT / "monitoring").rglob("*") if path.is_file())
    asked = {name.removesuffix("_bucket") for name in re.findall(r"\b(platform_[a-z_]+)\b", text)}
    measured = set(re.findall(r"\bplatform_[a-z_]+", (ROOT / "webapp" / "metrics.py").read_text()))
    assert len(asked) > 5
    assert {name.removesuffix("_total").replace("live_accuracy", "live_") for name in asked} <= measured


def test_every_alert_says_what_to_do() -> None:
    (group,) = yaml.safe_load((ROOT / "monitoring" / "alerts.yml").read_text())["groups"]
    guide = (ROOT / "docs" / "operations.md").read_text()
    for rule in group["rules"]:
        assert f"**{rule['alert']}**" in guide
        assert {"expr", "labels", "annotations"} <= rule.keys()
    board = json.loads((ROOT / "monitoring/grafana/dashboards/platform.json").read_text())
    assert all(panel["targets"][0]["expr"] for panel in board["panels"])
