"""What can go wrong in the science. A message names the thing, the limit and the next step."""


class MlError(Exception):
    """Base of every error that a user can cause and mend; its text is written for that user."""


class BadArchive(MlError):
    """The uploaded archive cannot become a data set."""


class BadImage(MlError):
    """One image cannot be read or breaks a limit."""


class BadConfig(MlError):
    """The configuration does not fit the data, the device or the weights at hand."""


class MissingSource(MlError):
    """A well-known data set is neither in the folder of data sets nor downloadable."""


class MissingWeights(MlError):
    """Initial weights that were asked for cannot be had; never replaced by random ones."""


class MissingPackage(MlError):
    """The configuration needs an optional package that is not installed where training runs."""


class BadArtifact(MlError):
    """A stored model version is damaged, incomplete or of an unknown format."""


class DeviceFault(MlError):
    """The device that was to compute predictions is not there, or failed."""


class NoExplanation(MlError):
    """A version was asked for what its graph does not give."""


class ParityError(MlError):
    """The exported graph does not compute what the trained network computes."""


class Cancelled(Exception):
    """Raised by `report` when a person asked to stop; not an error."""


class Superseded(Exception):
    """Raised by `report` when another attempt owns the row; the loser stops and writes nothing."""
