"""The overlays of a trial and of production: what they add fits what they begin with."""

import base64
import contextlib
import os
import subprocess
from urllib.parse import urlsplit

import pytest
import yaml
from sqlalchemy import NullPool, create_engine, insert, text

from jobs.recovery import KINDS
from tests import manifests as rendered
from tests.manifests import (
    OPTIONAL_KEYS,
    PROGRAMS,
    SECRET_KEYS,
    Manifest,
    configuration,
    containers,
    of_kind,
    pods,
    templates,
)
from tests.servers import Postgres
from webapp.models import Dataset


@pytest.fixture
def overlays() -> dict[str, list[Manifest]]:
    return rendered.overlays()


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
