"""Latency runtimes, one module each: export, load and run a network. Modules in this folder are discovered by name.

Always available: onnxruntime_cpu (the default), torch_eager, torch_compile (needs a C++ compiler). Optional extras of the
project, installed from PyPI and checked to reproduce torch's logits: openvino_cpu, ncnn_cpu (converted by pnnx),
executorch_xnnpack, litert_cpu (its converter litert-torch 0.10 requires torch < 2.15 and installs 2.14; conversion takes
half a minute per network, like compilation for ExecuTorch and torch_compile). For CUDA, not tested on a GPU: torch_cuda,
onnxruntime_cuda (install onnxruntime-gpu instead of onnxruntime).
"""
