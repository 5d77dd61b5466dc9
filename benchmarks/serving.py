"""`/predict` of a whole site beside three other servers and beside no server at all.

One MobileNetV3-small, trained and exported by the site in this run, one JPEG of 640 x 480 that is drawn here, two
workers on each side, the load generator `wrk` with 8 connections, 10 s after a warm-up of 3 s; each side four times,
all in turn.

- `loop`: two processes that decode, resize and run the model, one image after another. The limit.
- `site`: all that `make run` starts, as it starts it: token, limits, history row and metrics. The version has no guard
  against foreign images, which the others do not have either; `site, guarded` is one that has it.
- `flask`: the smallest Flask application under Gunicorn's two `sync` processes, on the site's own packages.
- `mosec`, `litserve`, `bentoml`: each in an environment of its own (`benchmarks/peers`), with the same decoder and the
  same runtime on one thread; neither tokens nor rows.

With `--minutes N` nothing is compared: the site, with its guard, is loaded for so long, one request in ten asks for a
map, and its memory is watched; the program ends with 1 where that grew by more than a twentieth, or a request failed.
With `--variants` the site is compared with itself, run in other ways.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.peers.environments import PEERS, python_of
from benchmarks.peers.scorer import MODEL
from ml.config import TrainConfig
from ml.synthetic import write_archive
from webapp.demo import Site

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks" / "peers"
CONNECTIONS, SECONDS, WARM_UP_S, ROUNDS, PROCESSES = 8, 10, 3, 4, 2
OTHERS = ("flask", *PEERS)
BOUNDARY = "an-image"
SAMPLED_S = 5.0
MOST_GROWTH = 0.05  # of the memory, from the second tenth of the time to the last
EXPLAINED = 10  # while memory is watched, one request of so many asks for a map
VARIANTS: dict[str, dict[str, str]] = {
    "as it is": {},
    "gunicorn's gthread": {"GUNICORN_CMD_ARGS": "--worker-class gthread"},
    "no keep-alive": {"GUNICORN_CMD_ARGS": "--keep-alive 0"},
    "9 threads": {"APP_WEB_THREADS": "9"},
    "32 threads": {"APP_WEB_THREADS": "32"},
    "1 process": {"APP_WEB_CONCURRENCY": "1"},
    "3 processes": {"APP_WEB_CONCURRENCY": "3"},
}


@dataclass
class Target:
    """An address that takes the image, and how."""

    url: str
    body: Path
    content_type: str
    authorization: str = "none"


@dataclass
class Measured:
    """The figures of one side, one a round."""

    per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)

    def add(self, found: dict[str, float]) -> None:
        for name, values in vars(self).items():
            if name in found:
                values.append(found[name])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures /predict.")
    parser.add_argument("--minutes", type=float, help="load the site for so long and watch its memory")
    parser.add_argument("--variants", action="store_true", help="compare ways to run the site")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("The load generator wrk is missing. Install it (apt install wrk) and run the benchmark again.")
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        bench = Bench(Path(folder))
        if options.minutes:
            found = bench.watch_memory(options.minutes)
            print(json.dumps(found))
            sys.exit(fault_of(found))
        elif options.variants:
            bench.compare_variants()
        else:
            bench.compare()


class Bench:
    """One run of the benchmark in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.image, self.form = folder, folder / "image.jpg", folder / "form"
        self.image.write_bytes(photograph())
        self.form.write_bytes(_multipart(self.image.read_bytes()))
        self.token = ""
        self.versions: dict[bool, int] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Trains the two versions on the site itself, and keeps the graph of the first."""
        with self._site() as site:
            write_archive(self.folder / "images.zip", images_per_class=120)
            with (self.folder / "images.zip").open("rb") as archive:
                made = site.post("/api/v1/datasets", data={"name": "Drawn"}, files={"archive": archive})
            site.wait(made["url"], ("ready", "rejected"))
            for guard in (False, True):
                config = TrainConfig(network="mobilenet_v3_small", image_size_px=224, epochs=1, domain_guard=guard)
                wanted = {"dataset_id": made["id"], "name": "Small", "config": config.model_dump(mode="json")}
                row = site.post("/api/v1/experiments", json=wanted)
                self.versions[guard] = site.wait(row["url"], ("succeeded", "failed"))["version"]
            graph = site.session.get(f"{site.url}/api/v1/versions/{self.versions[False]}/files/model.onnx", timeout=60)
            (self.folder / "model.onnx").write_bytes(graph.content)

    @contextlib.contextmanager
    def _site(self, **environment: str) -> Iterator[Site]:
        """The site as `make run` starts it, in a folder of its own."""
        port = _free_port()
        place = {"APP_DATA_DIR": str(self.folder / "var"), "APP_PORT": str(port), "APP_WEB_CONCURRENCY": str(PROCESSES)}
        place |= environment
        url = f"http://127.0.0.1:{port}"
        with _running([sys.executable, "-m", "webapp.runner"], self.folder / "site.log", place) as process:
            _wait(f"{url}/health/live", process, self.folder / "site.log")
            self.token = self.token or _new_token(place)
            site = Site(url, self.token)
            site.process = process  # type: ignore[attr-defined]
            yield site

    def compare(self) -> None:
        """Prints the table and the figures."""
        sides = {name: Measured() for name in ("loop", "site", "site, guarded", *OTHERS)}
        for _ in range(ROUNDS):
            sides["loop"].add({"per_s": self._loop()})
            for name, guard in (("site", False), ("site, guarded", True)):
                sides[name].add(self._served_by_the_site(guard))
            for peer in OTHERS:
                sides[peer].add(self._served_by(peer))
        _print_table(sides)
        site = sides["site"]
        ratios = {f"vs_{name}": round(mean(site.per_s) / mean(sides[name].per_s), 3) for name in ("loop", *OTHERS)}
        ratios["p99_over_p50"] = round(mean(site.p99_ms) / mean(site.p50_ms), 2)
        print(json.dumps(ratios | {"per_s": round(mean(site.per_s), 1)}))

    def compare_variants(self) -> None:
        """Prints a table of ways to run the site, all of them in turn, so that a slow minute hits all alike."""
        sides = {name: Measured() for name in VARIANTS}
        for _ in range(ROUNDS):
            for name, environment in VARIANTS.items():
                sides[name].add(self._served_by_the_site(False, may_fail=True, **environment))
        _print_table(sides, of="as it is")

    def _loop(self) -> float:
        command = [sys.executable, str(HERE / "loop.py"), str(self.image), str(SECONDS)]
        started = [
            subprocess.Popen(command, env=self._environment(), stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        return sum(float(process.communicate()[0]) for process in started)

    def _served_by_the_site(self, guard: bool, may_fail: bool = False, **environment: str) -> dict[str, float]:
        with self._site(**environment) as site:
            site.post(f"/api/v1/versions/{self.versions[guard]}/activate", json={"reason": "to be measured"})
            time.sleep(2)  # until every process has it
            return _load(self._target(site), may_fail)

    def _target(self, site: Site) -> Target:
        return Target(f"{site.url}/predict", self.image, "image/jpeg", f"Bearer {self.token}")

    def _served_by(self, peer: str) -> dict[str, float]:
        port, python = _free_port(), python_of(peer) if peer in PEERS else sys.executable
        multipart = f"multipart/form-data; boundary={BOUNDARY}"
        bind = ["--bind", f"127.0.0.1:{port}", "--workers", str(PROCESSES)]
        commands = {
            "flask": ["-m", "gunicorn", "--no-control-socket", *bind, "benchmarks.peers.flask_app:app"],
            "mosec": [str(HERE / "mosec_app.py"), "--address", "127.0.0.1", "--port", str(port)],
            "litserve": [str(HERE / "litserve_app.py"), str(port)],
            "bentoml": ["-m", "bentoml", "serve", "benchmarks.peers.bentoml_app:Model", "--port", str(port)],
        }
        target = Target(f"http://127.0.0.1:{port}/predict", self.form, multipart)
        if peer in ("flask", "mosec"):
            path = "inference" if peer == "mosec" else "predict"
            target = Target(f"http://127.0.0.1:{port}/{path}", self.image, "image/jpeg")
        log = self.folder / f"{peer}.log"
        with _running([str(python), *commands[peer]], log, self._environment()) as process:
            _wait(target.url, process, log, target)
            return _load(target)

    def _environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT), MODEL: str(self.folder / "model.onnx")}
        return own | {"BENTOML_HOME": str(self.folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "1"}

    def watch_memory(self, minutes: float) -> dict[str, Any]:
        """How the memory of the whole site changes under full load, from a tenth of the time on."""
        with self._site() as site:
            site.post(f"/api/v1/versions/{self.versions[True]}/activate", json={"reason": "to be measured"})
            time.sleep(2)
            _wrk(self._target(site), WARM_UP_S)
            with _wrk_process(self._target(site), 60 * minutes, EXPLAINED) as load:
                samples = []
                while load.poll() is None:
                    time.sleep(SAMPLED_S)
                    samples.append(_memory_mib(site.process.pid))  # type: ignore[attr-defined]
                found = json.loads(load.communicate()[0].splitlines()[-1])
        tenth = max(1, len(samples) // 10)
        first, last = mean(samples[tenth : 2 * tenth]), mean(samples[-tenth:])
        return found | {
            "minutes": minutes,
            "first_mib": round(first, 1),
            "last_mib": round(last, 1),
            "growth": round(last / first - 1, 4),
        }


def fault_of(found: dict[str, Any]) -> str | None:
    """What was wrong with a run whose memory was watched, for people; None where nothing was."""
    if found["failed"]:
        return f"{found['failed']} requests failed."
    if found["growth"] > MOST_GROWTH:
        sizes = f"from {found['first_mib']} to {found['last_mib']} MiB"
        return (
            f"The memory of the site grew by {found['growth']:.1%}, {sizes}; "
            f"at most {MOST_GROWTH:.0%} is accepted. Watch it for longer, then look for what is kept."
        )
    return None


def photograph() -> bytes:
    """A JPEG of 640 x 480 with soft shapes and some noise, about 100 kB."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (30, 40, 3), np.uint8))
    smooth_HWC = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.float32)
    noisy_HWC = smooth_HWC + generator.normal(0, 6, smooth_HWC.shape)
    buffer = io.BytesIO()
    Image.fromarray(noisy_HWC.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _multipart(image: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def _new_token(place: dict[str, str]) -> str:
    flask = [sys.executable, "-m", "flask", "--app", "wsgi"]
    environment = os.environ | place | {"APP_ADMIN_PASSWORD": "only for this benchmark"}
    for words in (["create-admin", "bench@example.org"], ["create-token", "bench@example.org", "--name", "bench"]):
        done = subprocess.run(
            [*flask, *words, *(["--scope", "write"] if "--name" in words else [])],
            env=environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
    return done.stdout.strip().splitlines()[-1]


@contextlib.contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """A server with all of its processes, which is stopped at the end."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        for one in (*family, psutil.Process(process.pid)) if process.poll() is None else family:
            with contextlib.suppress(psutil.Error):
                one.kill()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, target: Target | None = None) -> None:
    """Returns once the address answers well."""
    data, headers = (target.body.read_bytes(), {"Content-Type": target.content_type}) if target else (None, {})
    deadline_s = time.monotonic() + 90
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(url, data, headers)  # noqa: S310  # an address of this machine
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                return
        time.sleep(0.2)
    sys.exit(f"{url} did not answer. {log.read_text(errors='replace')[-2000:]}")


def _load(target: Target, may_fail: bool = False) -> dict[str, float]:
    _wrk(target, WARM_UP_S, may_fail)
    return _wrk(target, SECONDS, may_fail)


def _wrk(target: Target, seconds: float, may_fail: bool = False) -> dict[str, float]:
    with _wrk_process(target, seconds) as process:
        found: dict[str, float] = json.loads(process.communicate()[0].splitlines()[-1])
    if found["failed"] and not may_fail:
        sys.exit(f"{target.url} failed some requests: {found}")
    return found


def _wrk_process(target: Target, seconds: float, explained: int = 0) -> "subprocess.Popen[str]":
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(HERE / "wrk.lua")]
    asked = {"WRK_BODY": str(target.body), "WRK_TYPE": target.content_type, "WRK_AUTHORIZATION": target.authorization}
    asked["WRK_EXPLAIN"] = str(explained)
    return subprocess.Popen([*command, target.url], env=os.environ | asked, stdout=subprocess.PIPE, text=True)


def _memory_mib(pid: int) -> float:
    """Of all processes of a site; pages that they share have their part in each."""
    total = 0
    for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            memory = one.memory_full_info()
            total += getattr(memory, "pss", memory.uss)
    return total / 2**20


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _print_table(sides: dict[str, Measured], of: str = "site") -> None:
    print(f"{'side':<20}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'failed':>10}{of:>10}")
    for name, one in sides.items():
        latencies = (f"{mean(values):.1f}" if values else "" for values in (one.p50_ms, one.p99_ms, one.failed))
        ratio = mean(sides[of].per_s) / mean(one.per_s)
        print(f"{name:<20}{mean(one.per_s):>12.1f}" + "".join(f"{text:>10}" for text in latencies) + f"{ratio:>9.2f}x")


if __name__ == "__main__":
    main()
