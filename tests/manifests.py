"""The manifests of k8s/ as kustomize renders them, once for all tests of a process."""

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
SECRET_KEYS = {"APP_SECRET_KEY", "APP_DATABASE_URL", "APP_REDIS_URL"}
OPTIONAL_KEYS = {"APP_S3_ACCESS_KEY_ID", "APP_S3_SECRET_ACCESS_KEY"}
COMPONENTS = ("keda", "gpu", "gpu-web", "requests")
Manifest = dict[str, Any]


@functools.cache
def base() -> list[Manifest]:
    """What both overlays begin with."""
    return rendered(ROOT / "k8s" / "base")


@functools.cache
def overlays() -> dict[str, list[Manifest]]:
    """Trial, with secrets made from the example; production; and production with every component."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "k8s"
        shutil.copytree(ROOT / "k8s", folder, ignore=shutil.ignore_patterns("secrets.env"))
        shutil.copy(folder / "overlays/trial/secrets.env.example", folder / "overlays/trial/secrets.env")
        found = {overlay: rendered(folder / "overlays" / overlay) for overlay in ("trial", "production")}
        with (folder / "overlays/production/kustomization.yaml").open("a") as file:
            file.write("components:\n" + "".join(f"  - ../../components/{name}\n" for name in COMPONENTS))
        return found | {"everything": rendered(folder / "overlays/production")}


def rendered(folder: Path) -> list[Manifest]:
    done = subprocess.run([PROGRAMS / "kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr  # kustomize warns of what it deprecates
    return list(yaml.safe_load_all(done.stdout))


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


def each(manifests: list[Manifest], *kinds: str) -> Iterator[tuple[str, Manifest]]:
    """Name and manifest, also where two of different kinds have one name."""
    for kind in kinds:
        yield from of_kind(manifests, kind).items()
