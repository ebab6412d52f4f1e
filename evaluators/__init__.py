"""How good is a network: its cost, its latency on a device, its accuracy after training on images."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime since 1.29 reports models and machines unless it is set
