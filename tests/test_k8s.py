"""Manifests and Dockerfile: valid, consistent with each other and with the code, without needless rights."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from flask import Flask

from webapp import gunicorn
from webapp.security import PUBLIC
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
SECRET_KEYS = {"APP_SECRET_KEY", "APP_DATABASE_URL", "APP_REDIS_URL"}
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    command = [PROGRAMS / "kubectl", "kustomize", ROOT / "k8s" / "base"]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not rendered.stderr, rendered.stderr  # kustomize warns of what it deprecates
    return list(yaml.safe_load_all(rendered.stdout))


def of_kind(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod specification of each Deployment and Job."""
    return {name: one["spec"]["template"]["spec"] for name, one in of_kind(manifests, "Deployment", "Job").items()}


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for name, pod in pods(manifests).items():
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield f"{name}/{container['name']}", container


def configuration(manifests: list[Manifest]) -> dict[str, str]:
    (config_map,) = of_kind(manifests, "ConfigMap").values()
    data: dict[str, str] = config_map["data"]
    return data


def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile."""
    parts = re.split(r"^FROM (\S+) AS (\S+)\n", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[2::3], parts[3::3], strict=True))


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
def test_every_manifest_is_valid(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_that_is_needed_is_there(manifests: list[Manifest]) -> None:
    assert set(of_kind(manifests, "Deployment")) == {"web", "worker", "janitor"}
    assert set(of_kind(manifests, "Job")) == {"migration"}
    assert set(of_kind(manifests, "Service")) == {"web"}


def test_no_secret_is_in_the_repository(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    assert SECRET_KEYS.isdisjoint(configuration(manifests))


def test_every_selector_finds_its_pods_and_no_others(manifests: list[Manifest]) -> None:
    labels = {
        name: one["spec"]["template"]["metadata"]["labels"]
        for name, one in of_kind(manifests, "Deployment", "Job").items()
    }
    selectors = [
        (name, one["spec"]["selector"]["matchLabels"]) for name, one in of_kind(manifests, "Deployment").items()
    ]
    selectors += [(name, one["spec"]["selector"]) for name, one in of_kind(manifests, "Service").items()]
    for name, selector in selectors:
        assert [pod for pod, found in labels.items() if selector.items() <= found.items()] == [name]


def test_ports_agree_from_the_setting_to_the_service(manifests: list[Manifest]) -> None:
    (container,) = pods(manifests)["web"]["containers"]
    (port,) = container["ports"]
    (service_port,) = of_kind(manifests, "Service")["web"]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    assert {probe["httpGet"]["port"] for probe in probes(container)} == {port["name"]}
    assert str(port["containerPort"]) == configuration(manifests)["APP_PORT"]
    assert f"EXPOSE {port['containerPort']}\n" in stages()["web"]
    assert f"APP_PORT={port['containerPort']} " in stages()["base"]


def probes(container: Manifest) -> list[Manifest]:
    return [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")]


def test_probes_ask_public_routes(manifests: list[Manifest], app: Flask) -> None:
    (container,) = pods(manifests)["web"]["containers"]
    routes = app.url_map.bind("localhost")
    assert {routes.match(probe["httpGet"]["path"])[0] for probe in probes(container)} <= PUBLIC
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"  # a database that is down ends no process
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"


def test_the_environment_is_one_that_the_settings_accept(manifests: list[Manifest]) -> None:
    given = configuration(manifests) | {
        "APP_SECRET_KEY": "s" * 32,
        "APP_DATABASE_URL": "postgresql://user:password@database/platform",
        "APP_REDIS_URL": "redis://redis:6379/0",
    }
    names = {name: name.removeprefix("APP_").lower() for name in given}
    assert set(names.values()) <= set(Settings.model_fields)
    settings = Settings(**{names[name]: value for name, value in given.items()})  # type: ignore[arg-type]
    assert settings.is_production
    assert not settings.is_local


def test_every_container_gets_the_settings_and_its_secrets(manifests: list[Manifest]) -> None:
    (name,) = of_kind(manifests, "ConfigMap")
    for where, container in containers(manifests):
        assert container["envFrom"] == [{"configMapRef": {"name": name}}], where
        secrets = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"]}
        assert all(secret == {"name": "platform-secrets", "key": key} for key, secret in secrets.items()), where
        assert secrets.keys() == SECRET_KEYS - ({"APP_REDIS_URL"} if "wait-for" in where else set()), where


def test_what_is_written_goes_to_a_volume(manifests: list[Manifest]) -> None:
    config = configuration(manifests)
    store = urlsplit(config["APP_STORAGE_URL"]).path
    claims = of_kind(manifests, "PersistentVolumeClaim")
    for name, pod in pods(manifests).items():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}
        assert {config["APP_DATA_DIR"], config["APP_CACHE_DIR"], "/tmp"} <= set(mounts), name
        (shared,) = (volume for path, volume in mounts.items() if store.startswith(path + "/"))
        claim = claims[shared["persistentVolumeClaim"]["claimName"]]
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]  # pods of several machines use it


def test_pods_keep_to_the_restricted_security_standard(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests).items():
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 10001, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
    for where, container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, where  # fmt: skip


def test_every_container_says_what_it_needs(manifests: list[Manifest]) -> None:
    for where, container in containers(manifests):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert {"cpu", "memory"} <= requests.keys(), where
        assert "memory" in limits, where
        for kind, limit in limits.items():
            assert mebibytes(requests[kind]) <= mebibytes(limit), where


def mebibytes(quantity: str) -> int:
    number, unit = quantity[:-2], quantity[-2:]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def test_images_are_targets_of_the_dockerfile_at_the_version_of_the_project(manifests: list[Manifest]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for where, container in containers(manifests):
        name, _, tag = container["image"].partition(":")
        assert name.rpartition("/")[2] in stages(), where
        assert tag == version, where
    assert pods(manifests)["worker"]["containers"][0]["image"].startswith("breast-imaging-platform/worker:")


def test_commands_exist(manifests: list[Manifest]) -> None:
    commands = [container["command"] for _, container in containers(manifests) if "command" in container]
    commands += [
        yaml.safe_load(command) for command in re.findall(r"^CMD (.+)$", (ROOT / "Dockerfile").read_text(), re.M)
    ]
    assert ["gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"] in commands
    for program, *arguments in commands:
        assert (PROGRAMS / program).exists(), program
        if program == "python":
            assert arguments[0] == "-m"
            assert importlib.util.find_spec(arguments[1]), arguments


def test_a_web_pod_may_finish_its_requests(manifests: list[Manifest]) -> None:
    pod = pods(manifests)["web"]
    pause_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause_s + gunicorn.graceful_timeout


def test_no_pod_but_the_migrations_starts_before_the_migration(manifests: list[Manifest]) -> None:
    for name in of_kind(manifests, "Deployment"):
        (first,) = pods(manifests)[name]["initContainers"]
        assert first["command"] == ["alembic", "current", "--check-heads"]
    assert pods(manifests)["migration"]["containers"][0]["command"] == ["alembic", "upgrade", "head"]


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    done = subprocess.run([PROGRAMS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_images_do_not_run_as_root() -> None:
    for name in ("web", "worker"):
        assert re.findall(r"^USER (.+)$", stages()[name], re.M) == ["10001:10001"]


def test_base_images_are_pinned() -> None:
    bases = re.findall(r"^FROM (\S+) AS", (ROOT / "Dockerfile").read_text(), re.M)
    assert [base for base in bases if base not in stages()] == ["python:3.11-slim"]


def test_torch_is_in_the_image_of_the_workers_alone() -> None:
    assert not re.search(r"torch|train\.txt", stages()["base"] + stages()["web"])
    assert not re.search(r"^torch", (ROOT / "requirements" / "web.txt").read_text(), re.M)
    assert re.search(r"pip install .*-r requirements/torch\.txt", stages()["worker"])


def test_only_what_runs_gets_into_an_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {"jobs", "migrations", "ml", "requirements", "static", "templates", "webapp", "wsgi.py"} <= let_in
    assert all((ROOT / name).exists() for name in let_in)
    assert let_in.isdisjoint({".git", ".venv", "tests", "var"})
