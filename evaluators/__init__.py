"""Evaluates networks: cost, latency on a device, and accuracy after training."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # since 1.29, ONNX Runtime sends telemetry unless this is set
