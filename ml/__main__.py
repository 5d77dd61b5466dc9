"""The science on the command line, with no web: `python -m ml --help`.

A data set is a folder: `manifest.jsonl.gz` and the packs. A run is a folder: the files of a version, `card.json`, and
the last checkpoint.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ml.archive import Candidate
from ml.artifact import Card
from ml.config import SPLITS, TrainConfig
from ml.errors import BadConfig, MlError
from ml.ingest import MANIFEST_NAME, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.manifest import Manifest
from ml.metrics import Metrics, Score
from ml.pack import PackReader
from ml.presets import presets
from ml.progress import Progress
from ml.threads import share_cores

CHECKPOINT = "checkpoint.pt"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when done, 1 with a sentence on standard error when the input is at fault."""
    share_cores()
    chosen = _parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except (MlError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValidationError as error:
        first = error.errors()[0]
        print(f"error: {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description="From an archive of images to a classifier.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    ingested = commands.add_parser("ingest", help="make a data set of an archive, or of a well-known set by its name")
    ingested.set_defaults(run=_ingest)
    ingested.add_argument("archive", help="zip, tar(.gz, .xz) or npz file; or cifar10, breastmnist_64, ...")
    ingested.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    ingested.add_argument(
        "--options", default="{}", metavar="JSON", help="splits, seed, positive_class, group_pattern, ..."
    )
    ingested.add_argument("--datasets", type=Path, metavar="FOLDER", help="where files of well-known sets already lie")

    synthetic = commands.add_parser("synthetic", help="draw an archive of ultrasound-like lesions of two classes")
    synthetic.set_defaults(run=_synthetic)
    synthetic.add_argument("archive", type=Path)
    synthetic.add_argument("--images-per-class", type=int, default=300, metavar="N")
    synthetic.add_argument("--size-px", type=int, default=64, metavar="N")
    synthetic.add_argument("--seed", type=int, default=0, metavar="N")

    find_rate = commands.add_parser("find-rate", help="suggest a learning rate: a short training while it rises")
    find_rate.set_defaults(run=_find_rate)
    _add_configuration(find_rate)

    train = commands.add_parser("train", help="train a network on a data set")
    train.set_defaults(run=_train)
    _add_configuration(train)
    train.add_argument("--out", type=Path, required=True, metavar="RUN")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in RUN")

    evaluate = commands.add_parser("evaluate", help="score a trained network on a split of a data set")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("version", type=Path, metavar="RUN")
    evaluate.add_argument("dataset", type=Path)
    evaluate.add_argument("--split", choices=(*SPLITS, "all"), default="test")
    evaluate.add_argument(
        "--robustness", action="store_true", help="also of the images darker, blurred, noisy, compressed and turned"
    )

    export = commands.add_parser("export", help="make everything of a run again from its state_dict, with today's code")
    export.set_defaults(run=_export)
    export.add_argument("version", type=Path, metavar="RUN")
    export.add_argument("dataset", type=Path, help="the one that it was trained on")

    predict = commands.add_parser("predict", help="classify image files")
    predict.set_defaults(run=_predict)
    predict.add_argument("version", type=Path, metavar="RUN")
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    return parser


def _add_configuration(command: argparse.ArgumentParser) -> None:
    command.add_argument("dataset", type=Path)
    command.add_argument("--preset", choices=presets(), default="cnn-quick")
    command.add_argument("--config", default="{}", metavar="JSON", help="fields that differ from the preset")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one such field; may be repeated"
    )
    command.add_argument("--weights", type=Path, metavar="FOLDER", help="folder of weight files")


def _ingest(chosen: argparse.Namespace) -> None:
    options = IngestOptions.model_validate(_json(chosen.options, "--options"))
    limits = ArchiveLimits()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = _source(chosen, limits, Path(scratch))
        done = ingest(source, chosen.out, options, limits, lambda images: _show(f"{images} images"))
    print(f"\n{done.report.images} images, sha256 {done.outline.content_sha256()}")
    for label, counts in done.outline.counts().items():
        print(f"  {label:20} " + "  ".join(f"{split} {n}" for split, n in counts.items()))
    for issue in done.report.issues:
        print(f"  {issue.severity}: {issue.message}")


def _source(chosen: argparse.Namespace, limits: ArchiveLimits, scratch: Path) -> Path | Iterable[Candidate]:
    from ml.sources import SOURCES, candidates_of

    if chosen.archive in SOURCES and not Path(chosen.archive).exists():
        return candidates_of(chosen.archive, chosen.datasets, scratch, limits)
    return Path(chosen.archive)


def _synthetic(chosen: argparse.Namespace) -> None:
    from ml.synthetic import write_archive

    write_archive(chosen.archive, chosen.images_per_class, chosen.size_px, chosen.seed)
    print(f"{2 * chosen.images_per_class} drawn images in {chosen.archive}")


def _find_rate(chosen: argparse.Namespace) -> None:
    from ml.rate_finder import find_rate

    manifest, packs = _dataset(chosen.dataset)
    config = _config(chosen, len(manifest.of_split("train")))
    with tempfile.TemporaryDirectory() as scratch:
        curve = find_rate(config, manifest, packs, Path(scratch), report=_report, weights_dir=chosen.weights)
    _show("")
    for rate, loss in list(zip(curve.rates, curve.smoothed, strict=True))[::5]:
        print(f"rate {rate:.1e}: loss {loss:.3f}")
    if curve.suggested_rate is None:
        raise BadConfig("The loss did not fall at any rate. Look at the labels and the images, or try other settings.")
    print(f"suggested: --set learning_rate={curve.suggested_rate:g}")


def _train(chosen: argparse.Namespace) -> None:
    from ml import training
    from ml.release import release

    manifest, packs = _dataset(chosen.dataset)
    config = _config(chosen, len(manifest.of_split("train")))
    chosen.out.mkdir(parents=True, exist_ok=True)
    kept = chosen.out / CHECKPOINT

    def keep(path: Path, epoch: int) -> None:
        shutil.copy(path, kept)

    with tempfile.TemporaryDirectory() as scratch:
        fitted = training.fit(
            config,
            manifest,
            packs,
            Path(scratch),
            report=_report,
            save_checkpoint=keep,
            resume_from=kept if chosen.resume else None,
            weights_dir=chosen.weights,
        )
    print(f"best epoch {fitted.best_epoch} of {len(fitted.history)}, {fitted.wall_s:.0f} s")
    print(f"on {fitted.device}, in {fitted.precision}")
    done = release(fitted, config, manifest, packs, chosen.out, chosen.out.name, chosen.dataset.name)
    print(f"ONNX differs from torch by at most {done.card.parity.max_abs_difference:.1e}")
    _print_metrics(done.tested.metrics)


def _config(chosen: argparse.Namespace, images: int) -> TrainConfig:
    """The preset for so many images, changed by --config, changed by each --set.

    `augmentation.rotation_degrees=0` reaches inside.
    """
    fields = presets(images)[chosen.preset].config.model_dump()
    changes = [_json(chosen.config, "--config")]
    for change in chosen.set:
        key, _, value = change.partition("=")
        outer, _, inner = key.partition(".")
        changes.append({outer: {inner: _value(value)}} if inner else {outer: _value(value)})
    for change in changes:
        for key, value in change.items():
            fields[key] = {**fields[key], **value} if isinstance(fields.get(key), dict) else value
    return TrainConfig.model_validate(fields)


def _evaluate(chosen: argparse.Namespace) -> None:
    from ml.evaluation import evaluate_split
    from ml.robustness import measure
    from ml.serving import Predictor

    card = Card.read(chosen.version)
    manifest, packs = _dataset(chosen.dataset)
    predictor = Predictor(chosen.version / "model.onnx", card)
    asked = (predictor, manifest, packs, chosen.split, card.operating_point)
    _print_metrics(evaluate_split(*asked, lambda done, total: None).metrics)
    for one in measure(*asked, lambda done, total: None).outcomes if chosen.robustness else ():
        scores = ((name, getattr(one, name).value) for name in ("accuracy", "auc", "sensitivity", "specificity"))
        found = "  ".join(f"{name} {value:.3f}" for name, value in scores if value is not None)
        print(f"  {one.change:10} {'' if one.strength is None else one.strength:<6}  {found}")


def _export(chosen: argparse.Namespace) -> None:
    from ml.release import release_again

    card = release_again(chosen.version, *_dataset(chosen.dataset)).card
    print(f"ONNX differs from torch by at most {card.parity.max_abs_difference:.1e}")


def _predict(chosen: argparse.Namespace) -> None:
    from ml import domain
    from ml.images import decode
    from ml.serving import Predictor

    guard = chosen.version / domain.NAME
    known = domain.Domain.read(guard) if guard.exists() else None
    predictor = Predictor(chosen.version / "model.onnx", Card.read(chosen.version), domain=known)
    for path in chosen.images:
        answer = predictor.answer(decode(path.read_bytes()))
        if answer.in_domain is False:
            print(f"{path.name}: no label, it is unlike the images of training")
            continue
        others = "  ".join(f"{label} {probability:.3f}" for label, probability in answer.probabilities.items())
        print(f"{path.name}: {'no decision, leans to ' if answer.abstained else ''}{answer.label}   ({others})")


def _dataset(folder: Path) -> tuple[Manifest, PackReader]:
    if not (folder / MANIFEST_NAME).is_file():
        raise BadConfig(
            f"'{folder}' is not a data set: it has no {MANIFEST_NAME}. Make one with 'python -m ml ingest'."
        )
    return Manifest.read(folder / MANIFEST_NAME), PackReader(sorted(folder.glob("pack-*.zip")))


def _json(text: str, option: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadConfig(f"{option} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadConfig(f'{option} must be a JSON object, such as {{"seed": 1}}.')
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _report(progress: Progress) -> None:
    if progress.epoch == 0:
        return _show(f"preparing images: {progress.prepared:.0%}")
    result = progress.epoch_result
    if result is None:
        return _show(f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}")
    auc = "" if result.validation_auc is None else f", AUC {result.validation_auc:.3f}"
    _show("")
    print(
        f"epoch {result.number:3}: loss {result.train_loss:.3f}; validation: loss {result.validation_loss:.3f}, "
        f"accuracy {result.validation_accuracy:.3f}{auc}; {result.images_per_s:.0f} images/s"
    )


def _show(text: str) -> None:
    """One line that the next one overwrites; only where a person looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _print_metrics(metrics: Metrics) -> None:
    print(f"{metrics.n} images")
    for name in type(metrics).model_fields:
        score = getattr(metrics, name)
        if isinstance(score, Score) and score.value is not None:
            interval = "" if score.low is None else f"  [{score.low:.3f}, {score.high:.3f}]"
            print(f"  {name:18} {score.value:.3f}{interval}")


if __name__ == "__main__":
    raise SystemExit(main())
