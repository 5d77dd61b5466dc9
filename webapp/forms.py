"""Forms made from pydantic models: labels, help, limits and defaults come from the model alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from webapp.errors import Invalid, fields_of

Schema = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Field:
    """One input. `name` is dotted, as error messages name it: `config.augmentation.crop_scale`."""

    name: str
    label: str
    help: str
    kind: str
    value: Any
    error: str | None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    step: str = "any"


@dataclass(frozen=True)
class Group:
    """The inputs of a nested model; the top level has no title."""

    name: str
    title: str
    fields: tuple[Field, ...]
    error: str | None


def groups_of(model: type[BaseModel], prefix: str, values: Mapping[str, Any], errors: Mapping[str, str]) -> list[Group]:
    """The model's inputs: first its own, then those of each nested model.

    `values` and `errors` are keyed by dotted name; a value that is not there is the model's default.
    """
    schema = model.model_json_schema()
    defaults = flatten(model().model_dump(), prefix)
    found: dict[str, list[Field]] = {}
    titles = {prefix: ""}
    for parent, title, name, leaf in _leaves(schema, schema, prefix, ""):
        titles[parent] = title
        value = values.get(name, defaults[name])
        found.setdefault(parent, []).append(_field(name, leaf, value, errors.get(name)))
    return [Group(name, titles[name], tuple(fields), errors.get(name)) for name, fields in found.items()]


def flatten(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The values of a dumped model by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}.{name}"
        flat |= flatten(value, path) if isinstance(value, Mapping) else {path: value}
    return flat


def typed(model: type[BaseModel], prefix: str, form: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, by dotted name. A browser sends nothing for a box that is not ticked."""
    schema = model.model_json_schema()
    values: dict[str, Any] = {}
    for _, _, name, leaf in _leaves(schema, schema, prefix, ""):
        if leaf["type"] == "boolean":
            values[name] = name in form
        elif name in form:
            text = form[name].strip()
            values[name] = None if leaf.get("is_optional") and not text else text
    return values


def parse(model: type[Model], prefix: str, values: Mapping[str, Any]) -> Model:
    """The model of values by dotted name. Raises Invalid, whose fields are named as in the form."""
    try:
        return model.model_validate(_nested(values, prefix))
    except ValidationError as error:
        found = {"" if name == "body" else f".{name}": message for name, message in fields_of(error).items()}
        raise Invalid(
            "Some values cannot be used; each is marked below.",
            {prefix + name: message for name, message in found.items()},
        ) from error


def _nested(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.removeprefix(f"{prefix}.").split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return tree


def _leaves(schema: Schema, node: Schema, prefix: str, title: str) -> Iterator[tuple[str, str, str, Schema]]:
    """Group name, group title, dotted name and schema of each value; a nested model's come after its parent's."""
    later = []
    for name, leaf in node["properties"].items():
        path = f"{prefix}.{name}"
        if "$ref" in leaf:
            child = schema["$defs"][leaf["$ref"].rsplit("/", 1)[1]]
            later.append((child, path, leaf.get("title", child["title"])))
            continue
        if "anyOf" in leaf:  # a value or None
            leaf = leaf | next(kind for kind in leaf["anyOf"] if kind["type"] != "null") | {"is_optional": True}
        if leaf["type"] != "object":  # a table of names: the page that knows them shows it
            yield prefix, title, path, leaf
    for child, path, child_title in later:
        yield from _leaves(schema, child, path, child_title)


def _field(name: str, leaf: Schema, value: Any, error: str | None) -> Field:
    label, about = leaf.get("title", name), leaf.get("description", "")
    if "enum" in leaf:
        return Field(name, label, about, "select", value, error, tuple(leaf["enum"]))
    if leaf["type"] == "boolean":
        return Field(name, label, about, "checkbox", value, error)
    if leaf["type"] in ("integer", "number"):
        return Field(
            name,
            label,
            "; ".join(filter(None, (about, _limits(leaf)))),
            "number",
            value,
            error,
            minimum=leaf.get("minimum"),
            maximum=leaf.get("maximum"),
            step="1" if leaf["type"] == "integer" else "any",
        )
    return Field(name, label, about, "text", value, error)


def _limits(leaf: Schema) -> str:
    """'from 1 up to 1000' and the like; a seed's highest value says nothing to a person."""
    low, high = leaf.get("minimum"), leaf.get("maximum", LARGEST_SEED)
    above, below = leaf.get("exclusiveMinimum"), leaf.get("exclusiveMaximum")
    start = f"above {above:g}" if above is not None else f"from {low:g}" if low is not None else ""
    end = f"below {below:g}" if below is not None else f"up to {high:g}" if high < LARGEST_SEED else ""
    return " ".join(filter(None, (start, end)))
