"""Numbers, moments and addresses as people read them: the filters of the templates."""

import datetime
import math
from typing import Any

from flask import Flask, url_for
from markupsafe import Markup

from webapp import assets

NOTHING = "–"
SPACE = "\u202f"  # narrow and unbreakable: between a number and its unit, and between thousands


def init_app(app: Flask) -> None:
    app.jinja_env.filters.update(
        percent=percent,
        number=number,
        count=count,
        duration=duration,
        moment=moment,
        short_hash=short_hash,
        target=target,
    )
    app.jinja_env.globals.update(vendor_url=vendor_url)


def percent(share: float | None, digits: int = 1) -> str:
    return NOTHING if share is None else f"{100 * share:.{digits}f}{SPACE}%"


def number(value: float | None, digits: int = 3) -> str:
    """The value with `digits` significant digits; powers of ten only where it would be long otherwise."""
    if value is None:
        return NOTHING
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}".replace(",", SPACE)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{SPACE}h {minutes:02d}{SPACE}min"
    return f"{minutes}{SPACE}min {rest:02d}{SPACE}s" if minutes else f"{rest}{SPACE}s"


def moment(value: datetime.datetime | str | None) -> str:
    """The moment in UTC to the minute, machine-readable as well; the layout says that times are in UTC."""
    if value is None:
        return NOTHING
    at = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    at = at.astimezone(datetime.UTC)
    return Markup('<time datetime="{}" class="text-nowrap">{}</time>').format(
        at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M")
    )


def short_hash(sha256: str | None) -> str:
    return Markup('<code title="{}">{}</code>').format(sha256, sha256[:12]) if sha256 else NOTHING


def target(of_operating_point: str | None) -> str:
    """How an operating point was chosen, in words; an old card does not say."""
    if of_operating_point in (None, "youden"):
        return "highest sensitivity + specificity"
    return str(of_operating_point).replace(">=", "≥")


def vendor_url(name: str, **values: Any) -> str:
    """The address of a third-party script; it changes with the installed package."""
    return url_for("assets.vendor", version=assets.version_of(name), name=name, **values)
