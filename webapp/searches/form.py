"""The plan of a search on the form of an experiment: what to vary, within which values, how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from ml.space import SENSIBLE, Plan, field_of, title_of
from webapp import forms

Form = MultiDict[str, str]


@dataclass(frozen=True)
class Entry:
    """One setting that may be varied; `choices` are pairs of a value and whether it is ticked."""

    name: str
    title: str
    help: str
    is_varied: bool
    low: str
    high: str
    choices: list[tuple[str, bool]]
    error: str | None


def entries(form: Form, errors: Mapping[str, str]) -> list[Entry]:
    """Every setting as it was typed; what was not, with its sensible values."""
    return [_entry(name, form, errors) for name in SENSIBLE]


def _entry(name: str, form: Form, errors: Mapping[str, str]) -> Entry:
    usual, prefix = SENSIBLE[name], f"space.{name}"
    ticked = form.getlist(f"{prefix}.choices") if name in form.getlist("space") else list(map(str, usual.choices))
    return Entry(
        name=name,
        title=title_of(name),
        help=field_of(name).description or "",
        is_varied=name in form.getlist("space"),
        low=form.get(f"{prefix}.low", _written(usual.low)),
        high=form.get(f"{prefix}.high", _written(usual.high)),
        choices=[(str(value), str(value) in ticked) for value in usual.choices],
        error=next((text for field, text in errors.items() if field.startswith(f"plan.{prefix}")), None),
    )


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def parse(form: Form) -> Plan:
    """The plan that was typed. Raises Invalid, whose fields begin with `plan.`."""
    space = {name: _typed(name, form) for name in form.getlist("space") if name in SENSIBLE}
    return forms.parse(Plan, "plan", forms.typed(Plan, "plan", form) | {"plan.space": space})


def _typed(name: str, form: Form) -> dict[str, Any]:
    usual, prefix = SENSIBLE[name], f"space.{name}"
    if usual.choices:
        ticked = form.getlist(f"{prefix}.choices")
        return {"choices": [value for value in usual.choices if str(value) in ticked]}
    return {"low": form.get(f"{prefix}.low"), "high": form.get(f"{prefix}.high"), "is_log": usual.is_log}
