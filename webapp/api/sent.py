"""What clients send, as models: JSON bodies, multipart forms, query parameters."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ml.config import Frozen, TrainConfig, Variant
from ml.ingest_options import IngestOptions
from ml.space import Plan
from webapp.models import EVALUATED_SPLITS, MAX_ID, STUDY_KINDS
from webapp.pagination import DEFAULT_LIMIT, MAX_LIMIT
from webapp.predictions import history
from webapp.predictions.feedback import MOST as MOST_TRUTHS
from webapp.registry.comparison import MOST
from webapp.registry.intended_use import LONGEST
from webapp.registry.service import REASON_LENGTH


def _digits(text: object) -> object:
    if isinstance(text, str) and not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(f"it is '{text[:20]}'; it must be a whole number")
    return text


Digits = Annotated[int, BeforeValidator(_digits)]  # nothing but digits: neither '1.0' nor '+1' nor ' 1'
# Limits come before the check of digits: behind it the document would lack them.
RowNumber = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(_digits)]
ClusterNumber = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(_digits)]


Name = Annotated[str, Field(min_length=1, max_length=200)]


class DatasetOptions(IngestOptions):
    """The `options` of an upload."""

    review: bool = Field(False, description="Wait for a person to confirm what was found")


class Confirmation(Frozen):
    """What a person decided of a reviewed archive."""

    options: IngestOptions = Field(default_factory=IngestOptions)


class NewExperiment(Frozen):
    dataset_id: int = Field(ge=1, le=MAX_ID)
    name: Name
    config: TrainConfig = Field(default_factory=TrainConfig)


class NewStudy(Frozen):
    dataset_id: int = Field(ge=1, le=MAX_ID)
    name: Name
    kind: str = Field(json_schema_extra={"enum": list(STUDY_KINDS)})
    k: int = Field(ge=2, le=20)
    config: TrainConfig = Field(default_factory=TrainConfig)


class NewDataset(Frozen):
    """A data set of a finished resumable upload, or a well-known one."""

    source: str = ""
    upload: str = Field("", max_length=43)
    name: str = ""
    options: DatasetOptions = Field(default_factory=DatasetOptions)


class DatasetForm(BaseModel):
    """An archive (zip, tar, tar.gz, tar.xz, npz) with a name; `options` is JSON."""

    archive: bytes
    name: Name
    options: DatasetOptions = Field(default_factory=DatasetOptions)


class ImagesForm(BaseModel):
    """Images as multipart parts."""

    image: list[bytes] = Field(min_length=1)


class BatchFields(BaseModel):
    """What may come beside an archive that is to be scored."""

    name: str = Field("", max_length=200)
    version: RowNumber | None = Field(None, description="The version that scores; without it the active one")


class BatchForm(BatchFields):
    """An archive of images (zip, tar, tar.gz, tar.xz, npz), in folders or not."""

    archive: bytes


class NewBatch(Frozen):
    """An archive that came in pieces, to be scored."""

    upload: str = Field(min_length=1, max_length=43, description="The id of a finished resumable upload")
    name: str = Field("", max_length=200)
    version: int | None = Field(None, ge=1, le=MAX_ID)


class NewEvaluation(Frozen):
    version: int = Field(ge=1, le=MAX_ID)
    dataset_id: int = Field(ge=1, le=MAX_ID)
    split: str = Field("test", json_schema_extra={"enum": list(EVALUATED_SPLITS)})
    robustness: bool = Field(False, description="Also on changed images: brightness, blur, noise, JPEG, rotation")


class NewSearch(NewExperiment):
    plan: Plan


class Truth(Frozen):
    """The class that an answered image has."""

    request_id: str = Field(max_length=64)
    image: int = Field(0, ge=0, le=MAX_ID, description="Place of the image within its request")
    truth: str = Field(max_length=200)


class Truths(Frozen):
    """One truth by itself, or several as `items`."""

    items: list[Truth] = Field(min_length=1, max_length=MOST_TRUTHS)

    @model_validator(mode="before")
    @classmethod
    def _one_is_several(cls, given: Any) -> Any:
        return {"items": [given]} if isinstance(given, dict) and "items" not in given else given


class Reason(Frozen):
    reason: str = Field(min_length=1, max_length=REASON_LENGTH)


class NewIntendedUse(Frozen):
    """What a version is for, for whom and in which hands; an empty text takes it back."""

    text: str = Field(max_length=LONGEST)


class NewActivation(Reason):
    variant: Variant = Field("float32", description="int8: the smaller file, where the version offers it")


class EncodedImages(Frozen):
    """Images as base64 text."""

    images: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)


class Query(BaseModel):
    """Query parameters; unknown ones are passed over."""

    model_config = ConfigDict(frozen=True)


class PageArguments(Query):
    limit: Digits = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Rows in one page")
    cursor: Digits = Field(0, ge=0, le=MAX_ID, description="`next` of the page before")


class Explain(Query):
    explain: Literal["0", "1"] = Field("0", description="1: with a map of where the model looked")


def _may_be_empty(schema: dict[str, Any]) -> None:
    """As in every query what is empty is not asked for; the format of a moment would forbid it."""
    schema["anyOf"].append({"const": ""})


class AnswerArguments(PageArguments, history.Filter):
    """Which answers of the past, and which page of them."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    since: history.Moment | None = Field(None, json_schema_extra=_may_be_empty)
    until: history.Moment | None = Field(None, json_schema_extra=_may_be_empty, description="Not itself")

    def wanted(self) -> history.Filter:
        return history.Filter(**{name: getattr(self, name) for name in history.Filter.model_fields})


class ImageArguments(Query):
    limit: Digits = Field(100, ge=1, le=1000, description="Images in one page")
    cursor: Digits = Field(0, ge=0, le=MAX_ID, description="`next` of the page before")
    label: str = Field("", description="Only images of this class")
    split: str = Field("", description="Only images of this split")
    group: str = Field("", description="Only images of this group (patient)")
    issue: str = Field("", description="Only images with this finding")
    cluster: ClusterNumber | None = Field(None, description="Only copies of one another")
    quarantined: Literal["0", "1"] | None = Field(None, description="1: only those in quarantine; 0: only the others")

    def wanted(self) -> dict[str, Any]:
        """The fields of a Filter of images that are asked for."""
        given = self.model_dump(include={"label", "split", "group", "issue", "cluster"})
        quarantined = None if self.quarantined is None else self.quarantined == "1"
        return {name: None if value == "" else value for name, value in given.items()} | {"quarantined": quarantined}


class ReportArguments(Query):
    prevalence: float | None = Field(
        None, gt=0, lt=1, description="Predictive values at this share of positive images, beside the usual ones"
    )


class ResultArguments(Query):
    limit: Digits = Field(100, ge=1, le=1000, description="Images in one page")
    cursor: Digits = Field(0, ge=0, le=MAX_ID, description="`next` of the page before")


class ComparisonArguments(Query):
    version: list[Digits] = Field(
        min_length=2, max_length=MOST, description="The versions, each given as one more `version=`"
    )
    dataset_id: Digits = Field(0, ge=0, le=MAX_ID, description="Compare on the images of this data set")
    split: str = Field("", description="Compare on the images of this split")
