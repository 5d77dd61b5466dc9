"""Numbers and moments as people read them."""

import datetime

import pytest

from webapp import formats


@pytest.mark.parametrize(("share", "text"), [(0.8768, "87.7\u202f%"), (1, "100.0\u202f%"), (None, "–")])
def test_a_share_is_shown_as_a_percentage(share: float | None, text: str) -> None:
    assert formats.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.36712, "0.367"),
        (181.24, "181"),
        (2210.0, "2210"),
        (0.001, "0.00100"),
        (1.8e-7, "1.80e-07"),
        (0, "0"),
        (None, "–"),
    ],
)
def test_a_number_has_three_significant_digits(value: float | None, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.72, "0.7 s"), (59.6, "1 min 00 s"), (74, "1 min 14 s"), (3725, "1 h 02 min"), (None, "–")]
)
def test_a_duration_is_told_in_the_units_that_fit(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds).replace("\u202f", " ") == text


def test_a_moment_is_told_in_utc_whatever_its_zone() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    html = formats.moment(datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone))
    assert ">2026-01-02 01:04<" in html
    assert 'datetime="2026-01-02T01:04:05+00:00"' in html
    assert formats.moment("2026-01-02T03:04:05+02:00") == html


def test_thousands_are_set_apart() -> None:
    assert formats.count(1234567) == "1\u202f234\u202f567"
