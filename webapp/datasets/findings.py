"""What is wrong with one image, said in sentences. What is wrong with a whole data set says `ml.quality`."""

from ml.manifest import ImageRow

_SENTENCES = {
    "same_pixels_two_labels": "An image of another class has the same pixels. One of the labels is wrong.",
    "near_copy_two_labels": "An image of another class shows the same picture. One of the labels is wrong.",
    "copy_across_splits": "A copy or near copy is in another split. Scores there are too good.",
    "group_across_splits": "Its group (patient) is also in another split. Scores there are too good.",
    "exact_copy": "There is an exact copy of it.",
    "near_copy": "There is a near copy of it: flipped, resized or cropped.",
    "no_group": "The group pattern does not match its path. It is split as if it were alone.",
    "constant_image": "It has a single colour.",
    "near_empty_image": "It is almost all of one colour.",
    "tiny_image": "It is very small.",
    "size_outlier": "Its size is quite different from the others'.",
    "brightness_outlier": "It is much brighter or darker than the others.",
    "burnt_in_marks": "It has bright marks near the edge, such as letters or a ruler.",
    "border": "It has a frame of one colour.",
}


def name_of(kind: str) -> str:
    """The kind as two or three words."""
    return kind.replace("_", " ")


def sentences(row: ImageRow) -> list[str]:
    """One for each finding of the image, the quarantine first."""
    first = ["It is in quarantine: it belongs to no split until a person decides."] if row.quarantined else []
    return first + [_SENTENCES.get(kind, f"{name_of(kind).capitalize()}.") for kind in row.issues]
