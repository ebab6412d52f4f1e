"""One file a latency runtime: how a network is prepared, loaded and run once; found by the folder.

Always there: onnxruntime_cpu (the default), torch_eager, torch_compile (needs a C++ compiler). Optional extras of the
project, each from the ordinary index, each checked to give torch's logits: openvino_cpu, ncnn_cpu (converted by pnnx),
executorch_xnnpack, litert_cpu (its converter litert-torch 0.10 asks for torch < 2.15 and brings 2.14; conversion is
slow, half a minute for each network, as ExecuTorch's and torch_compile's compilation is). For CUDA, not tested on a
GPU: torch_cuda, onnxruntime_cuda (the package onnxruntime-gpu in the place of onnxruntime).
"""
