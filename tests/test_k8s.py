"""Manifests: valid, consistent with each other and with the code, without needless rights."""

import importlib.util
import re
import subprocess
import tomllib

import kubernetes_validate
import pytest
import yaml
from flask import Flask

from tests import manifests as rendered
from tests.manifests import (
    OPTIONAL_KEYS,
    PROGRAMS,
    ROOT,
    SECRET_KEYS,
    Manifest,
    configuration,
    containers,
    each,
    of_kind,
    pods,
    templates,
)
from tests.test_images import DOCKERFILE, stages
from webapp import gunicorn
from webapp.security import PUBLIC
from webapp.settings import Settings

OWN_IMAGES = re.compile(r"(?:registry\.example\.org/)?breast-imaging-platform/(web|worker)")


@pytest.fixture
def manifests() -> list[Manifest]:
    """What both overlays begin with."""
    return rendered.base()


@pytest.fixture
def overlays() -> dict[str, list[Manifest]]:
    return rendered.overlays()


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
def test_every_manifest_is_valid(overlays: dict[str, list[Manifest]], version: str) -> None:
    services = [one for one in overlays["trial"] if one["kind"] == "StatefulSet"]
    for manifest in (*overlays["everything"], *services):
        if not manifest["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_that_is_needed_is_there(manifests: list[Manifest]) -> None:
    assert set(of_kind(manifests, "Deployment")) == {"web", "worker", "janitor"}
    assert set(of_kind(manifests, "CronJob")) == {"sweep"}
    assert set(of_kind(manifests, "Job")) == {"migration"}
    assert set(of_kind(manifests, "Service")) == {"web"}


def test_no_secret_is_in_the_repository(overlays: dict[str, list[Manifest]]) -> None:
    assert not of_kind(overlays["everything"], "Secret")
    assert (SECRET_KEYS | OPTIONAL_KEYS).isdisjoint(configuration(overlays["everything"]))
    ignored = ["git", "check-ignore", "k8s/overlays/trial/secrets.env", "secrets/app"]
    assert subprocess.run(ignored, cwd=ROOT, capture_output=True, text=True).stdout.count("\n") == 2
    example = (ROOT / "k8s/overlays/trial/secrets.env.example").read_text().splitlines()
    assert all("CHANGE-ME" in line or line == "APP_S3_ACCESS_KEY_ID=platform" for line in example)


@pytest.mark.parametrize("overlay", ["trial", "everything"])
def test_every_selector_finds_its_pods_and_no_others(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    manifests = overlays[overlay]
    labels = {name: template["metadata"]["labels"] for name, template in templates(manifests).items()}
    kinds = ("Deployment", "StatefulSet", "PodDisruptionBudget")
    selectors = [(name, one["spec"]["selector"]["matchLabels"]) for name, one in each(manifests, *kinds)]
    selectors += [(name, one["spec"]["selector"]) for name, one in each(manifests, "Service")]
    for name, pod in pods(manifests).items():
        spread = pod.get("topologySpreadConstraints", ())
        selectors += [(name, constraint["labelSelector"]["matchLabels"]) for constraint in spread]
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
    assert given["APP_STORAGE_URL"].startswith("s3://")  # no volume is shared
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
        for key, secret in secrets.items():
            optional = {"optional": True} if key in OPTIONAL_KEYS else {}
            assert secret == {"name": "platform-secrets", "key": key} | optional, where
        wanted = SECRET_KEYS | OPTIONAL_KEYS
        assert secrets.keys() == wanted - ({"APP_REDIS_URL", *OPTIONAL_KEYS} if "wait-for" in where else set()), where


def test_what_is_written_goes_to_a_volume(manifests: list[Manifest]) -> None:
    config = configuration(manifests)
    for name, pod in pods(manifests).items():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}
        assert {config["APP_DATA_DIR"], config["APP_CACHE_DIR"], "/tmp"} <= set(mounts), name
        for container in (one for where, one in containers(manifests) if where == f"{name}/app"):
            limit = container["resources"]["limits"].get("ephemeral-storage", "1000Gi")
            assert mebibytes(limit) > int(config["APP_CACHE_MB"]), name


@pytest.mark.parametrize("overlay", ["trial", "everything"])
def test_pods_keep_to_the_restricted_security_standard(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    manifests = overlays[overlay]
    for name, pod in pods(manifests).items():
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
    for where, container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, where  # fmt: skip


@pytest.mark.parametrize("overlay", ["trial", "everything"])
def test_every_container_says_what_it_needs(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    for where, container in containers(overlays[overlay]):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert {"cpu", "memory"} <= requests.keys(), where
        assert "memory" in limits, where
        for kind in requests.keys() & limits.keys():
            assert mebibytes(requests[kind]) <= mebibytes(limits[kind]), where


def mebibytes(quantity: str) -> int:
    number, unit = quantity[:-2], quantity[-2:]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def test_images_are_pinned_and_ours_are_targets_of_the_dockerfile(overlays: dict[str, list[Manifest]]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for where, container in (one for name in ("trial", "production") for one in containers(overlays[name])):
        name, _, tag = container["image"].partition(":")
        own = OWN_IMAGES.fullmatch(name)
        if own:
            assert own[1] in stages(), where
            assert (own[1] == "worker") is (where == "worker/app"), where
            assert tag == version, where
        else:
            assert re.match(r"\d+\.\d+", tag), where  # pinned, not `latest`


def test_commands_exist(manifests: list[Manifest]) -> None:
    commands = [container["command"] for _, container in containers(manifests) if "command" in container]
    commands += [yaml.safe_load(command) for command in re.findall(r"^CMD (.+)$", DOCKERFILE, re.M)]
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
