"""A study through real workers: every image judged once by a network that did not see it."""

import pytest

from ml import scored
from ml.config import TrainConfig
from ml.folding import as_seen
from tests.jobs.processes import Processes, wait_for
from tests.sites import wait_until
from webapp.datasets import contents
from webapp.datasets.service import store
from webapp.models import Dataset, Study, User, db
from webapp.registry import service as registry
from webapp.settings import Settings
from webapp.studies import members, results, service


def is_pooled(study: Study) -> bool:
    db.session.rollback()
    db.session.refresh(study)
    return study.pooled is not None


@pytest.mark.slow
def test_three_folds_end_with_pooled_scores_over_all_images(
    processes: Processes, researcher: User, dataset: Dataset, settings: Settings
) -> None:
    processes.warm_worker()
    config = TrainConfig(epochs=2, image_size_px=32, batch_size=8)
    study = service.create(dataset.id, "Folds", "folds", 3, config, researcher)
    for member in study.members:
        wait_for(member, lambda row: row.status == "succeeded")
    wait_until(lambda: is_pooled(study))

    judged: list[int] = []
    manifest, hashes = contents.manifest_of(dataset), set()
    for row in study.members:
        card, seen = row.version.card, as_seen(manifest, members.of(row))
        assert card["study"] == {"study": study.id, "kind": "folds", "number": row.member, "k": 3, "seed": 0}
        assert card["dataset"]["sha256"] == seen.content_sha256()
        hashes.add(card["dataset"]["sha256"])
        with store().fetch(registry.test_evaluation(row.version).predictions_sha256) as path:
            numbers = scored.read(path).number_N.tolist()
        assert {seen.rows[number].split for number in numbers} == {"test"}
        judged += numbers
    assert len(hashes - {dataset.sha256}) == 3
    assert sorted(judged) == list(range(dataset.images))
    assert study.pooled["n"] == dataset.images
    assert results.of(study).spreads["accuracy"].n == 3
    assert len(list((settings.scratch / "copies").iterdir())) == 1  # images are decoded once for all folds

    first = study.members[0].version
    again = registry.start_evaluation(first.id, dataset.id, "test", researcher)
    wait_for(again, lambda row: row.status == "succeeded")
    assert again.metrics == registry.test_evaluation(first).metrics


@pytest.mark.slow
def test_two_seeds_are_two_networks_on_the_same_test_images(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    processes.warm_worker()
    config = TrainConfig(epochs=1, image_size_px=32, batch_size=8, seed=4)
    study = service.create(dataset.id, "Seeds", "seeds", 2, config, researcher)
    first, second = (wait_for(row, lambda row: row.status == "succeeded").version for row in study.members)
    assert (first.card["seed"], second.card["seed"]) == (4, 5)
    assert first.card["dataset"]["sha256"] == second.card["dataset"]["sha256"] == dataset.sha256
    assert first.model_sha256 != second.model_sha256
    assert study.pooled is None
