"""The group rule: which part of a path names the patient. Proposed from the paths alone, for a person to confirm."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ml.patterns import Pattern

MIN_MATCHED = 0.95
MIN_MEAN_SIZE = 1.5
MAX_EXAMPLES = 8

# Most specific first. A rule is proposed only where it matches and really groups.
_RULES = (
    r"SOB_[BM]_[A-Z]+[-_](\d+-\d+[A-Z]*)[-_]",  # BreaKHis: SOB_M_DC-14-2523-40-010.png, the slide
    r"(P_\d{5})_(?:LEFT|RIGHT)",  # CBIS-DDSM: Mass-Training_P_00001_LEFT_CC
    r"(?i)(?:^|[/_\-. ])(?:patient|pat|subject|subj|case|pid|woman)[ _\-]?0*(\d+)",
    r"(\d+)_idx\d+_x\d+_y\d+_class\d",  # breast histopathology patches: 10253_idx5_x1001_y1001_class0.png
    r"(?i)([^/]+)_(?:L|R|left|right)_?(?:CC|MLO|ML)",  # mammograms: the views of one examination
    r"([^/]+)/[^/]+$",  # a folder for each patient below the class
    r"([^/]*\d[^/]*?)[_\-.][a-zA-Z]{0,6}\d{1,4}\.\w+$",  # a number, then the number of the image: 14-12312_2.png
)
_FOLDER_RULE = _RULES[5]


@dataclass(frozen=True)
class Proposal:
    """A pattern whose first group names the patient, what it finds, and some pairs of path and group."""

    pattern: str
    groups: int
    examples: tuple[tuple[str, str], ...]


def propose(paths: Sequence[str], class_depth: int = 1) -> Proposal | None:
    """The first known rule that explains the paths; None where none does: a wrong group is worse than none.

    The images of a class lie below `class_depth` folders (0 where a table names the classes). A rule must match 95 %
    of the paths, find at least two groups, and hold more than 1.5 images in each on average.
    """
    for pattern in _RULES:
        first, matched = _first_of_groups(pattern, paths)
        if len(first) < 2 or matched / len(first) <= MIN_MEAN_SIZE:
            continue
        if pattern == _FOLDER_RULE and not _lie_below_classes(paths, class_depth):
            continue
        return Proposal(pattern, len(first), _examples(first))
    return None


def _first_of_groups(pattern: str, paths: Sequence[str]) -> tuple[dict[str, str], int]:
    """The first path of each group, and how many paths match; nothing, and soon, where the pattern misses too many."""
    first: dict[str, str] = {}
    matched, rule = 0, Pattern(pattern, "group rule")
    for number, path in enumerate(paths, start=1):
        if match := rule.search(path):
            first.setdefault(match.group(1), path)
            matched += 1
        elif number - matched > (1 - MIN_MATCHED) * len(paths):
            return {}, 0
    return first, matched


def _lie_below_classes(paths: Sequence[str], class_depth: int) -> bool:
    """Whether the last folder is a patient's: below a class folder, with more patients than classes in each."""
    folders = {folder for path in paths if (folder := path.rpartition("/")[0])}
    if any(folder.count("/") < class_depth for folder in folders):
        return False
    parents = Counter(folder.rpartition("/")[0] for folder in folders)
    return "" not in parents and len(parents) >= 2 and len(folders) > 2 * len(parents)


def _examples(first: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """One path of each of several groups, spread over the archive."""
    pairs = [(path, group) for group, path in first.items()]
    step = max(1, len(pairs) // MAX_EXAMPLES)
    return tuple(pairs[::step][:MAX_EXAMPLES])
