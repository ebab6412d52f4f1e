"""Latency: measures networks on a device, stores device profiles, and predicts latency from them.

Subpackages, each importing only from those after it: `predict`, the predictor; `device`, profiles and how they are measured;
`runtimes`, one file per runtime; `kernels`, the kernels that a network runs; `timing`, the timing protocol. `runtime.py`
defines the interface of a runtime.
"""
