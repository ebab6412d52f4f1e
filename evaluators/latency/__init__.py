"""Latency: measuring networks on a device, device profiles, and the predictor fitted to them.

Rooms, each of which knows those after it: `predict`, the predictor; `device`, what was measured of a device; `runtimes`, one
file each; `kernels`, which ones a network runs; `timing`, the protocol. `runtime.py` says what a runtime's file must have.
"""
