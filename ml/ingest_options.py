"""How an archive becomes a data set, and what it may cost: the only definition of each option and limit.

As in `ml.config`, the form, the API, the command line and the JSON Schema are generated from these models.
"""

from typing import Self

from pydantic import Field, field_validator, model_validator

from ml import patterns
from ml.config import Frozen


class ArchiveLimits(Frozen):
    """What an untrusted archive may cost. Bytes are counted while reading; declared sizes are not believed."""

    max_entries: int = Field(200_000, gt=0, description="Files in one archive")
    max_entry_mb: int = Field(200, gt=0, description="Size of one file, unpacked")
    max_total_mb: int = Field(50_000, gt=0, description="Size of all files, unpacked")
    max_ratio: int = Field(200, gt=0, description="Unpacked size / archive size, once 100 MB are unpacked")
    max_image_megapixels: int = Field(100, gt=0, description="Width x height of one image / 1e6")
    max_frames: int = Field(2_000, gt=0, description="Frames of one DICOM file that are read")
    max_classes: int = Field(1_000, gt=1, description="Class folders")
    min_images_per_class: int = Field(3, gt=0, description="Images that each class needs")


class SplitShares(Frozen):
    """Shares of the images that go to each split, used where the archive names none."""

    train: float = Field(0.70, gt=0, lt=1)
    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"The shares add up to {total:.3f}; they must add up to 1.")
        return self


class IngestOptions(Frozen):
    """How an archive becomes a data set."""

    splits: SplitShares = Field(default_factory=SplitShares, title="Split shares")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed of the split")
    positive_class: str | None = Field(
        None,
        max_length=200,
        title="Positive class",
        description="The class that sensitivity speaks of; proposed from its name where empty",
    )
    group_pattern: str | None = Field(
        None,
        max_length=500,
        title="Group pattern",
        description="Regular expression on the path; its first group names the patient, who stays in one split. "
        "Left out: as the names of the files suggest",
    )
    exclude_pattern: str | None = Field(
        None,
        max_length=500,
        title="Exclude pattern",
        description="Regular expression on the path; matching files are left out and listed. "
        "Left out: masks and annotations beside images",
    )
    classes: dict[str, str] = Field(
        default_factory=dict,
        max_length=1_000,
        title="Classes",
        description="New names of classes; two classes of one new name become one, an empty name leaves a class out",
    )
    repair: bool = Field(
        False,
        title="Repair the given split",
        description="Puts the images of one group, and copies, together where the archive's own split divides them",
    )

    @field_validator("classes")
    @classmethod
    def _has_readable_names(cls, classes: dict[str, str]) -> dict[str, str]:
        for old, new in classes.items():
            if len(new) > 200 or not new.isprintable():
                raise ValueError(f"The new name of class '{old}' must have at most 200 printable characters.")
        return classes

    @field_validator("group_pattern", "exclude_pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern:
            patterns.check(pattern)
        return pattern
