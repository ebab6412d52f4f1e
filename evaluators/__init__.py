"""Evaluates networks: cost, latency on a device, and accuracy after training."""

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # since 1.29, ONNX Runtime sends telemetry unless this is set
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when a library of LiteRT is loaded; they log each conversion
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO and NNCF send with it; without, they use stubs
