"""Regular expressions that people write: the language is that of `re`, the matching can be stopped.

`re` holds the interpreter until it is done, which for '(a|aa)+$' on a long path is never. `regex` lets other threads
run and knows a time limit, but writes counted repeats out when it compiles: 'a{100000000}' would fill the memory.
"""

import re
import warnings

import regex

from ml.errors import BadConfig

TIMEOUT_S = 0.5
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


def search(pattern: str, path: str, name: str) -> "regex.Match[str] | None":
    """The first match of a checked pattern; `name` is what the user calls it. Raises BadConfig where it takes long."""
    try:
        return regex.search(pattern, path, timeout=TIMEOUT_S)
    except TimeoutError as error:
        raise BadConfig(
            f"The {name} '{pattern}' takes more than {TIMEOUT_S:g} s on the path '{path}'. Write it without repeats "
            "of what itself repeats, such as (a+)+, and try again."
        ) from error


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
