"""The main job once, as a client system would do it over HTTP: `python -m webapp.demo [--exit]`.

Starts the site, brings in drawn images, trains, reads the metrics, activates, asks for predictions of images that
nobody trained on, and leaves the site running. Every figure that it prints was answered by the site.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from ml.presets import presets
from ml.synthetic import write_archive
from webapp.settings import Settings

EMAIL = "demo@example.org"
IMAGES_PER_CLASS = 300
UNSEEN_PER_CLASS = 10
START_TIMEOUT_S = 60
JOB_TIMEOUT_S = 900


class DemoFailed(Exception):
    """A step did not do what it should have done."""


class Site:
    """A client of the running site."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Any:
        return self._body(self.session.get(self.url + path, timeout=30))

    def post(self, path: str, **body: Any) -> Any:
        return self._body(self.session.post(self.url + path, timeout=300, **body))

    @staticmethod
    def _body(response: requests.Response) -> Any:
        if not response.ok:
            raise DemoFailed(
                f"{response.request.method} {response.url} answered {response.status_code}: {response.text}"
            )
        return response.json()

    def wait(self, path: str, final: tuple[str, ...], show: Callable[[Any], None] = lambda row: None) -> Any:
        """The row once it has a final status; `show` gets it each time it was looked at."""
        deadline_s = time.monotonic() + JOB_TIMEOUT_S
        while time.monotonic() < deadline_s:
            row = self.get(path)
            show(row)
            if row["status"] in final:
                return row
            time.sleep(0.5)
        raise DemoFailed(f"{path} did not end within {JOB_TIMEOUT_S} s.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the main job once and leaves the site running.")
    parser.add_argument("--exit", action="store_true", help="stop everything at the end")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings = Settings()
    try:
        with running_site(settings) as url:
            _main_job(url, settings)
            if not options.exit:
                print("\nThe site goes on running. Ctrl-C stops it.", flush=True)
                signal.pause()
    except DemoFailed as error:
        sys.exit(f"\nThe demo failed. {error}")
    except KeyboardInterrupt:
        print("\nStopped.")


@contextmanager
def running_site(settings: Settings) -> Iterator[str]:
    """The URL of the site, which runs within the `with` block; its log goes to a file in the data folder."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    url, log_path = f"http://127.0.0.1:{settings.port}", settings.data_dir / "site.log"
    _say("start", f"the site on {url}, its log in {log_path}")
    with log_path.open("ab") as log:
        # A process group of its own: Ctrl-C reaches this process alone, which then stops the site in order.
        tied = str(Path(__file__).with_name("tied.py"))  # the site never outlives the demo
        process = subprocess.Popen(
            [sys.executable, tied, sys.executable, "-m", "webapp.runner"],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_live(url, process, log_path)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_until_live(url: str, process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            last = log_path.read_text(errors="replace").strip().splitlines()[-1:]
            raise DemoFailed(f"The site ended at once: {' '.join(last)}")
        try:
            if requests.get(f"{url}/health", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise DemoFailed(f"The site did not answer within {START_TIMEOUT_S} s; see {log_path}.")


def _main_job(url: str, settings: Settings) -> None:
    password = _make_admin()
    site = Site(url, _command("create-token", EMAIL, "--name", "demo", "--scope", "write"))
    with tempfile.TemporaryDirectory() as folder:
        dataset = _bring_in(site, Path(folder) / "synthetic.zip")
        experiment = _train(site, dataset["id"])
        _show_metrics(experiment["metrics"])
        site.post(f"/api/v1/versions/{experiment['version']}/activate", json={"reason": "First model of the demo"})
        _say("activate", f"version {experiment['version']} serves")
        _predict(site, Path(folder) / "unseen.zip")
    health = site.get("/health")
    _say("health", f"{health['status']}, version {health['model']['version']} loaded")
    print(f"\n  Site       {url}\n  Experiment {url}/experiments/{experiment['id']}")
    print(f"  Log in     {EMAIL}\n  Password   {password}", flush=True)


def _make_admin() -> str:
    """The password of the demo's admin, who is made where there is none yet."""
    password = secrets.token_urlsafe(12)
    try:
        _command("create-admin", EMAIL, APP_ADMIN_PASSWORD=password)
    except DemoFailed as error:
        if "already" not in str(error):
            raise
        return "the one printed when the demo first ran here"
    return password


def _command(*words: str, **environment: str) -> str:
    """What `flask --app wsgi ...` printed."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoFailed(done.stderr.strip())
    return done.stdout.strip()


def _bring_in(site: Site, path: Path) -> Any:
    write_archive(path, images_per_class=IMAGES_PER_CLASS, seed=0)
    _say("upload", f"{2 * IMAGES_PER_CLASS} synthetic images, drawn for this demo, {path.stat().st_size / 1e6:.1f} MB")
    with path.open("rb") as archive:
        created = site.post("/api/v1/datasets", data={"name": "Synthetic lesions"}, files={"archive": archive})
    started_s = time.monotonic()
    row = site.wait(created["url"], ("ready", "rejected"))
    if row["status"] != "ready":
        raise DemoFailed(f"The data set was rejected: {row['rejected_because']}")
    split = ", ".join(
        f"{sum(item[name] for item in row['classes'])} {name}" for name in ("train", "validation", "test")
    )
    _say("dataset", f"{row['images']} images ({split}) in {time.monotonic() - started_s:.1f} s")
    return row


def _train(site: Site, dataset_id: int) -> Any:
    config = presets()["cnn-quick"].config.model_dump(mode="json")
    created = site.post(
        "/api/v1/experiments", json={"dataset_id": dataset_id, "name": "Demo on synthetic lesions", "config": config}
    )
    _say("train", f"network '{config['network']}', {config['epochs']} epochs at {config['image_size_px']} px")
    started_s, show = time.monotonic(), _ShownEpochs()
    row = site.wait(created["url"], ("succeeded", "failed", "cancelled"), show)
    if row["status"] != "succeeded":
        raise DemoFailed(f"The experiment {row['status']}: {row['failed_because']}")
    _say("trained", f"on {row['device']} in {time.monotonic() - started_s:.1f} s, exported to ONNX and evaluated")
    return row


class _ShownEpochs:
    """Prints each epoch once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, row: Any) -> None:
        for epoch in row["epochs"][self.count :]:
            losses = f"train loss {epoch['train_loss']:.3f}  validation loss {epoch['validation_loss']:.3f}"
            _say("", f"  epoch {epoch['number']:2d}  {losses}  accuracy {epoch['validation_accuracy']:.3f}")
        self.count = len(row["epochs"])


def _show_metrics(metrics: Any) -> None:
    for name in ("auc", "accuracy", "sensitivity", "specificity"):
        score = metrics[name]
        interval = f"95 % interval {score['low']:.3f} to {score['high']:.3f}"
        _say(name, f"{score['value']:.3f}  ({interval}, {metrics['n']} test images)")


def _predict(site: Site, path: Path) -> None:
    """Asks for images that were drawn from another seed. Raises DemoFailed below 70 % right."""
    write_archive(path, images_per_class=UNSEEN_PER_CLASS, seed=12345)
    with zipfile.ZipFile(path) as archive:
        unseen = {name: archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")}
    answers = []
    for name, image in unseen.items():
        body = site.post("/predict", data=image, headers={"Content-Type": "image/png"})
        answers.append((name, name.split("/")[0], body["predictions"][0]))
    right = [answer for answer in answers if answer[1] == answer[2]["label"]]
    if len(right) < 0.7 * len(answers):
        raise DemoFailed(f"Only {len(right)} of {len(answers)} unseen images were classified right.")
    name, truth, answer = max(right, key=lambda item: item[2]["probability"])
    _say(
        "predict",
        f"{len(right)} of {len(answers)} unseen images right; {name}: {answer['label']} "
        f"(probability {answer['probability']:.3f}), truth: {truth}",
    )


def _say(step: str, text: str) -> None:
    print(f"  {step:<12} {text}", flush=True)


if __name__ == "__main__":
    main()
