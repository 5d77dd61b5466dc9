"""Manifests: valid, consistent with each other and with the code, without needless rights."""

import base64
import contextlib
import importlib.util
import os
import re
import shutil
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
from sqlalchemy import NullPool, create_engine, insert, text

from jobs.recovery import KINDS
from tests.servers import Postgres
from tests.test_images import DOCKERFILE, stages
from webapp import gunicorn
from webapp.models import Dataset
from webapp.security import PUBLIC
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
SECRET_KEYS = {"APP_SECRET_KEY", "APP_DATABASE_URL", "APP_REDIS_URL"}
OPTIONAL_KEYS = {"APP_S3_ACCESS_KEY_ID", "APP_S3_SECRET_ACCESS_KEY"}
OWN_IMAGES = re.compile(r"(?:registry\.example\.org/)?breast-imaging-platform/(web|worker)")
COMPONENTS = ("keda", "gpu", "requests")
Manifest = dict[str, Any]


def rendered(folder: Path) -> list[Manifest]:
    done = subprocess.run([PROGRAMS / "kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr  # kustomize warns of what it deprecates
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """What both overlays begin with."""
    return rendered(ROOT / "k8s" / "base")


@pytest.fixture(scope="module")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    """Trial, with secrets made from the example; production; and production with every component."""
    folder = tmp_path_factory.mktemp("overlays") / "k8s"
    shutil.copytree(ROOT / "k8s", folder, ignore=shutil.ignore_patterns("secrets.env"))
    shutil.copy(folder / "overlays/trial/secrets.env.example", folder / "overlays/trial/secrets.env")
    found = {name: rendered(folder / "overlays" / name) for name in ("trial", "production")}
    with (folder / "overlays/production/kustomization.yaml").open("a") as file:
        file.write("components:\n" + "".join(f"  - ../../components/{name}\n" for name in COMPONENTS))
    return found | {"everything": rendered(folder / "overlays/production")}


def of_kind(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod specification of each workload."""
    return {name: template["spec"] for name, template in templates(manifests).items()}


def templates(manifests: list[Manifest]) -> dict[str, Manifest]:
    jobs = {name: one["spec"]["jobTemplate"] for name, one in of_kind(manifests, "CronJob").items()}
    found = of_kind(manifests, "Deployment", "Job", "StatefulSet") | jobs
    return {name: one["spec"]["template"] for name, one in found.items()}


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for name, pod in pods(manifests).items():
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield f"{name}/{container['name']}", container


def configuration(manifests: list[Manifest]) -> dict[str, str]:
    (config_map,) = of_kind(manifests, "ConfigMap").values()
    data: dict[str, str] = config_map["data"]
    return data


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
def test_every_manifest_is_valid(overlays: dict[str, list[Manifest]], version: str) -> None:
    services = [one for one in overlays["trial"] if one["kind"] == "StatefulSet"]
    for manifest in (*overlays["everything"], *services):
        if not manifest["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.skipif("APP_TEST_CLUSTER" not in os.environ, reason="APP_TEST_CLUSTER names no context of kubectl")
def test_a_cluster_takes_every_manifest(overlays: dict[str, list[Manifest]]) -> None:
    """Asks the server, which changes nothing; its namespace must be there."""
    command = [
        PROGRAMS / "kubectl",
        "--context",
        os.environ["APP_TEST_CLUSTER"],
        "apply",
        "--dry-run=server",
        "-f",
        "-",
    ]
    for name in ("trial", "production"):
        subprocess.run(command, input=yaml.safe_dump_all(overlays[name]), text=True, check=True)


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


def each(manifests: list[Manifest], *kinds: str) -> Iterator[tuple[str, Manifest]]:
    """Name and manifest, also where two of different kinds have one name."""
    for kind in kinds:
        yield from of_kind(manifests, kind).items()


@pytest.mark.parametrize("overlay", ["trial", "everything"])
def test_policies_let_in_and_out_what_is_needed_and_nothing_else(
    overlays: dict[str, list[Manifest]], overlay: str
) -> None:
    manifests = overlays[overlay]
    policies = of_kind(manifests, "NetworkPolicy")
    nothing = policies.pop("nothing")["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    names = [template["metadata"]["labels"] for template in templates(manifests).values()]
    opened = {port["port"] for policy in policies.values() for port in ports_of(policy, "ingress")}
    offered = {port for pod in pods(manifests).values() for port in container_ports(pod)}
    assert opened <= offered  # no rule for what nobody listens on
    for policy in policies.values():
        wanted = policy["spec"]["podSelector"].get("matchLabels", {})
        assert any(wanted.items() <= labels.items() for labels in names), policy["metadata"]["name"]
    out = {port["port"] for policy in policies.values() for port in ports_of(policy, "egress")}
    assert out >= {53, 5432, 6379, 443} | ({8333} if overlay == "trial" else set())


def ports_of(policy: Manifest, direction: str) -> list[Manifest]:
    return [port for rule in policy["spec"].get(direction, ()) for port in rule["ports"]]


def container_ports(pod: Manifest) -> set[int | str]:
    ports = [port for container in pod["containers"] for port in container.get("ports", ())]
    return {value for port in ports for value in (port["name"], port["containerPort"])}


def test_autoscalers_have_bounds_and_targets_whose_number_nobody_else_sets(
    overlays: dict[str, list[Manifest]],
) -> None:
    manifests = overlays["everything"]
    deployments = of_kind(manifests, "Deployment")
    (web,) = of_kind(manifests, "HorizontalPodAutoscaler").values()
    assert 2 <= web["spec"]["minReplicas"] < web["spec"]["maxReplicas"]
    assert {metric["type"] for metric in web["spec"]["metrics"]} == {"Resource", "External"}
    assert "replicas" not in deployments[web["spec"]["scaleTargetRef"]["name"]]["spec"]
    (workers,) = of_kind(manifests, "ScaledObject").values()
    assert workers["spec"]["minReplicaCount"] < workers["spec"]["maxReplicaCount"]
    assert workers["spec"]["scaleTargetRef"]["name"] in deployments
    budget = of_kind(manifests, "PodDisruptionBudget")["web"]["spec"]
    assert budget["minAvailable"] < web["spec"]["minReplicas"]  # else no node could ever be drained


def test_workers_are_counted_by_the_work_of_every_kind(
    overlays: dict[str, list[Manifest]], request: pytest.FixtureRequest, postgres: Postgres
) -> None:
    """The query that KEDA asks, on the real schema."""
    (workers,) = of_kind(overlays["everything"], "ScaledObject").values()
    (trigger,) = workers["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    for kind in KINDS:
        assert f"FROM {kind.__tablename__} WHERE status" in query
        assert f"'{kind.WAITING}'" in query
        assert f"'{kind.WORKING}'" in query
    given = {one["name"] for one in pods(overlays["everything"])["worker"]["containers"][0]["env"]}
    assert trigger["metadata"]["connectionFromEnv"] in given
    name = postgres.create(template=request.getfixturevalue("_postgres_template"))
    with contextlib.closing(create_engine(postgres.url(name), poolclass=NullPool).connect()) as connection:
        assert connection.scalar(text(query)) == 0
        connection.execute(insert(Dataset).values(name="Scans", archive_part_sha256s=["0" * 64]))
        assert connection.scalar(text(query)) == 1
    postgres.drop(name)


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


def test_the_secrets_of_the_trial_fit_its_services(overlays: dict[str, list[Manifest]]) -> None:
    (secret,) = of_kind(overlays["trial"], "Secret").values()
    services = of_kind(overlays["trial"], "Service")
    given = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert set(given) >= SECRET_KEYS | OPTIONAL_KEYS
    urls = [given["APP_DATABASE_URL"], given["APP_REDIS_URL"], configuration(overlays["trial"])["APP_S3_ENDPOINT_URL"]]
    for url in map(urlsplit, urls):
        (port,) = services[str(url.hostname)]["spec"]["ports"]
        assert port["port"] == url.port
    assert urlsplit(urls[0]).password == given["POSTGRES_PASSWORD"]
    assert urlsplit(urls[1]).password == given["REDIS_PASSWORD"]
    for where, container in containers(overlays["trial"]):
        asked = [one["valueFrom"]["secretKeyRef"] for one in container.get("env", ()) if "valueFrom" in one]
        assert {one["name"] for one in asked} <= {secret["metadata"]["name"]}, where
        assert {one["key"] for one in asked} <= set(given), where


def test_the_ingress_leads_to_the_service_with_tls(overlays: dict[str, list[Manifest]]) -> None:
    (ingress,) = of_kind(overlays["production"], "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    service = of_kind(overlays["production"], "Service")[backend["name"]]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert [rule["host"]] == ingress["spec"]["tls"][0]["hosts"]
    assert configuration(overlays["production"])["APP_TRUSTED_PROXIES"] == "1"


def test_everything_is_in_one_namespace_that_allows_no_more_than_restricted_pods(
    overlays: dict[str, list[Manifest]],
) -> None:
    for manifests in overlays.values():
        (space,) = of_kind(manifests, "Namespace").values()
        assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        others = [one for one in manifests if one["kind"] != "Namespace"]
        assert {one["metadata"]["namespace"] for one in others} == {space["metadata"]["name"]}


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
