"""ncnn, for phones and boards: model.ncnn.param is the graph, model.ncnn.bin the weights in float32; one image, [C, H, W]."""

from evaluators.card import Signature
from evaluators.latency.runtimes.ncnn_cpu import prepare as write

__all__ = ["FILE", "MORE", "RUNTIME", "SIGNATURE", "USE", "write"]

FILE, MORE, RUNTIME = "model.ncnn.param", ("model.ncnn.bin",), "ncnn_cpu"
SIGNATURE = Signature("in0", "out0", "CHW")
USE = """import ncnn
net = ncnn.Net()
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
net.load_param("model.ncnn.param")
net.load_model("model.ncnn.bin")
with net.create_extractor() as extractor:
    extractor.input("in0", ncnn.Mat(image[0]))
    logits = extractor.extract("out0")[1].numpy().copy()"""
