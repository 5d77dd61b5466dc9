"""Masks and annotations: images beside the images that are no data of their own, known by their names."""

import re
from collections.abc import Sequence

PATTERN = (
    r"(?i)(?:[_\-. ](?:mask|masks|seg|segmentation|annotation|annotated|roi|contour|groundtruth|gt)"
    r"(?:[_\-. ]?\d+)?\.\w+$)|(?:(?:^|/)(?:masks?|annotations?|segmentations?|ground[_ ]?truth)/)"
)


def propose(paths: Sequence[str]) -> str | None:
    """The pattern for masks and annotations where some, but not all, of the paths look like one."""
    found = sum(re.search(PATTERN, path) is not None for path in paths)
    return PATTERN if 0 < found < len(paths) else None
