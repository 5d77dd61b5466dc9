"""Learning-rate range tests: queued, watched, cancelled."""

from ml.config import TrainConfig
from webapp import audit, queue
from webapp.cancelling import cancel as cancel
from webapp.datasets import service as datasets
from webapp.errors import NotFound
from webapp.experiments import service as experiments
from webapp.models import RateSearch, User, db, find


def create(dataset_id: int, name: str, config: TrainConfig, user: User) -> RateSearch:
    """A queued test of the configuration. Raises NotFound, Conflict, Invalid."""
    dataset = datasets.get_ready(dataset_id)
    experiments.check_initial_weights(config)
    name = datasets.clean_name(name)
    row = RateSearch(name=name, dataset=dataset, config=config.model_dump(mode="json"), created_by=user)
    db.session.add(row)
    audit.record("rate_search.create", row, user, dataset=dataset.id, network=config.network)
    db.session.commit()
    queue.ring(queue.FIND_RATE, row.id)
    return row


def get(rate_search_id: int) -> RateSearch:
    """The test. Raises NotFound."""
    row = find(RateSearch, rate_search_id)
    if row is None:
        raise NotFound(f"There is no learning rate search {rate_search_id}.")
    return row


def found(row: RateSearch) -> dict[str, float]:
    """The field of a configuration that the test suggests; empty while, or where, it suggests none."""
    rate = row.curve["suggested_rate"] if row.curve else None
    return {} if rate is None else {"learning_rate": rate}
