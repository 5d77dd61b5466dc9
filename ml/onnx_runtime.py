"""ONNX Runtime, imported in the one place that first tells it to keep to itself.

Its builds for Linux collect usage events in the user's home and send them away unless this variable stands before the
first import; `disable_telemetry_events` comes too late. A hospital's images and models are nobody's usage data.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

__all__ = ["errors", "onnxruntime"]
