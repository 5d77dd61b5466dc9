"""What Prometheus and Grafana are told to ask counts nothing once for each pod."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
OF_ONE_POD = {"platform_predict_places"}  # everything else is told by each pod for all of them
AGGREGATIONS = {"sum", "avg", "count", "min", "max", "topk", "bottomk", "quantile", "stddev", "group"}
CALL = re.compile(r"(\w+)\s*(?:by\s*\([^)]*\)\s*)?$")


def questions() -> Iterator[str]:
    board = json.loads((ROOT / "monitoring/grafana/dashboards/platform.json").read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])
    (group,) = yaml.safe_load((ROOT / "monitoring/alerts.yml").read_text())["groups"]
    yield from (rule["expr"] for rule in group["rules"])
    yield from re.findall(r"metricsQuery: (.+)", (ROOT / "k8s/components/requests/kustomization.yaml").read_text())


def innermost(question: str) -> dict[str, str]:
    """For each metric of the platform the first aggregation around it; none is empty."""
    found, opened = {}, []
    for place, sign in enumerate(question):
        if sign == "(":
            opened.append(CALL.search(question[:place]))
        elif sign == ")":
            opened.pop()
        elif question.startswith("platform_", place) and not re.match(r"\w", question[place - 1 : place]):
            names = [call[1] for call in reversed(opened) if call and call[1] in AGGREGATIONS]
            found[re.match(r"\w+", question[place:])[0]] = names[0] if names else ""
    return found


@pytest.mark.parametrize("question", [*questions()])
def test_no_question_adds_up_what_every_pod_tells_for_all(question: str) -> None:
    for name, aggregation in innermost(question).items():
        assert name in OF_ONE_POD or aggregation in ("max", "min"), question


def test_a_new_panel_that_adds_up_pods_would_be_noticed() -> None:
    assert innermost("sum(rate(platform_predictions_total[5m]))") == {"platform_predictions_total": "sum"}
    assert innermost("sum(max by (version) (rate(platform_a[5m]))) / platform_b") == {
        "platform_a": "max",
        "platform_b": "",
    }
    assert innermost("sum by (stage) (rate(platform_a[1m]))") == {"platform_a": "sum"}
    assert {name for question in questions() for name in innermost(question)} > OF_ONE_POD
