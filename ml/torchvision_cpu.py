"""torchvision, importable beside a torch build that its compiled operators do not fit.

`from ml.torchvision_cpu import torchvision` instead of `import torchvision`. Where torchvision's wheel and torch
were built apart (a CPU build of torch beside the public wheel), its library does not load and its import stops at
"operator torchvision::nms does not exist". Models, data sets and transforms need none of those operators: declaring
the two schemas is enough. Where the operators exist this module does nothing.
"""

import importlib

import torch

_MISSING_OPERATOR = "operator torchvision::nms does not exist"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# Schemas live as long as the library that declared them.
_declared: list[torch.library.Library] = []


def _declare_schemas() -> None:
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


# torchvision goes first: schemas that its library declares a second time would end the process.
try:
    torchvision = importlib.import_module("torchvision")
except RuntimeError as error:
    if _MISSING_OPERATOR not in str(error):
        raise
    _declare_schemas()
    torchvision = importlib.import_module("torchvision")
