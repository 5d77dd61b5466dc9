"""Regular expressions that people write: the language is that of `re`, the matching can be stopped.

`re` holds the interpreter until it is done, which for '(a|aa)+$' on a long path is never. `regex` lets other threads
run and knows a time limit, but writes counted repeats out when it compiles: 'a{100000000}' would fill the memory.
"""

import re
import time
import warnings

import regex

from ml.errors import BadConfig

TIMEOUT_S = 0.5
TOTAL_S = 60.0
_MAX_NODES = 20_000
_COUNT = re.compile(r"(.?)\{(\d+)", re.DOTALL)
_VERBOSE = re.compile(r"\(\?[a-zA-Z-]*x")


def check(pattern: str) -> None:
    """Raises ValueError where the text is no regular expression, or one that is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # '[[' may one day mean something else; not in `regex`
            re.compile(pattern)
        if _VERBOSE.search(pattern):
            raise ValueError("Verbose patterns, (?x), are not accepted. Write it without white space and comments.")
        if _nodes(pattern) > _MAX_NODES:
            raise ValueError("Its counted repeats multiply to too much. Use smaller numbers, or * and +.")
        regex.compile(pattern)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"Not a regular expression: {error}") from error


class Pattern:
    """A checked pattern that is searched for in many paths. Each search has its limit, and all of them have one.

    `name` is what the user calls it. Searching raises BadConfig where a limit is passed.
    """

    def __init__(self, pattern: str, name: str, total_s: float = TOTAL_S) -> None:
        self._pattern = regex.compile(pattern)
        self._name = name
        self._total_s = total_s
        self._spent_s = 0.0

    def search(self, path: str) -> "regex.Match[str] | None":
        """The first match."""
        started_s = time.perf_counter()
        try:
            match = self._pattern.search(path, timeout=TIMEOUT_S)
        except TimeoutError as error:
            raise self._too_slow(f"more than {TIMEOUT_S:g} s on the path '{path}'") from error
        self._spent_s += time.perf_counter() - started_s
        if self._spent_s > self._total_s:
            raise self._too_slow(f"more than {self._total_s:g} s on all paths together")
        return match

    def group(self, path: str) -> str | None:
        """What the first bracket of the pattern holds, or the whole match where it has none; nothing is None."""
        match = self.search(path)
        return match and ((match.group(1) if self._pattern.groups else match.group()) or None)

    def _too_slow(self, how: str) -> BadConfig:
        return BadConfig(
            f"The {self._name} '{self._pattern.pattern}' takes {how}. Write it without repeats of what itself "
            "repeats, such as (a+)+, and try again."
        )


def _nodes(pattern: str) -> int:
    """What the compiled pattern has at most: repeats of one character add up, those of a group multiply.

    A count belongs to a group where it stands behind a bracket; verbose patterns could hide one.
    """
    single, groups = len(pattern), 1
    for before, digits in _COUNT.findall(pattern):
        count = max(int(digits), 1)
        if before == ")":
            groups *= count
        else:
            single += count
    return single * groups
