"""Regular expressions that people write."""

import pytest

from ml import patterns
from ml.errors import BadConfig
from ml.patterns import Pattern

ENDLESS = "(a|aa)+$"


@pytest.mark.parametrize(
    "pattern",
    [
        r"/(p\d+[ab])_",
        r"^(?!.*_ok\.)",
        r"(?i)mask|\.txt$",
        r"(?P<patient>\d{4}-\d{2})",
        "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
        ENDLESS,
    ],
)
def test_ordinary_patterns_are_accepted(pattern: str) -> None:
    patterns.check(pattern)


@pytest.mark.parametrize("pattern", ["(", "[", "*", "(?P<x", "\\", r"\p{Foo}", "a{2}{3}", "a{99999999999999999999}"])
def test_what_python_does_not_compile_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"Not a regular expression|multiply"):
        patterns.check(pattern)


@pytest.mark.parametrize("pattern", ["a{100000000}", "(((a{1000}){1000}){1000}){1000}", "(?:a{1000})(?#x){1000}"])
def test_repeats_that_would_fill_the_memory_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="counted repeats"):
        patterns.check(pattern)


@pytest.mark.parametrize("pattern", ["(?x)(?:a{1000}){ 1000}", "(?ix: a)"])
def test_verbose_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="Verbose"):
        patterns.check(pattern)


def test_a_match_gives_its_groups() -> None:
    pattern = Pattern(r"/(p\d+)_", "group pattern")
    match = pattern.search("benign/p12_3.png")
    assert match is not None
    assert match.group(1) == pattern.group("benign/p12_3.png") == "p12"
    assert pattern.search("benign/12.png") is None
    assert Pattern(r"p\d+", "group pattern").group("benign/p12_3.png") == "p12"
    assert Pattern(r"p(x?)", "group pattern").group("benign/p12_3.png") is None


def test_a_match_without_end_is_stopped_and_named() -> None:
    with pytest.raises(
        BadConfig, match=r"The exclude pattern '\(a\|aa\)\+\$' takes more than 0\.5 s on the path 'a+b'"
    ):
        Pattern(ENDLESS, "exclude pattern").search(200 * "a" + "b")


def test_many_slow_searches_are_stopped_together() -> None:
    pattern = Pattern(ENDLESS, "group pattern", total_s=0.05)
    with pytest.raises(BadConfig, match=r"takes more than 0\.05 s on all paths together"):
        list(map(pattern.search, 1_000 * [24 * "a" + "b"]))
