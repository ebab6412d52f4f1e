"""The exported ONNX file, fed original images as its model.json says, gives the logits that the network was tested with."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from evaluators.data import Preprocessing, load
from evaluators.data.imagefolder import read
from evaluators.training.batches import Pictures
from evaluators.training.weights import load_network
from nas.export import Trained, export_trained
from search_spaces.genotype import Genotype
from search_spaces.network import build

BLOCKS = "conv 8/2 padding=same\ninverted_residual 16/2 expand=2 se=0.25 act=hard_swish\nhead\n"


@pytest.fixture(scope="module")
def tested(photos):
    """(data set at two inputs, files of its test set) by channels, rectangular or not, and fit."""

    def make(channels, sizes, fit):
        data = load(f"imagefolder:{photos}", inputs=[(channels, *size) for size in sizes], fit=fit)
        return data, read(photos, False).test.items

    return make


@pytest.mark.parametrize("sizes", [[(32, 32), (24, 24)], [(24, 40), (30, 50)]], ids=["square", "rectangular"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_original_images_give_the_logits_of_the_network(tested, tmp_path, fit, channels, sizes):
    data, files = tested(channels, sizes, fit)
    for number, input in enumerate(data.inputs):
        genotype = Genotype.parse(BLOCKS).at(input)
        torch.manual_seed(number)
        network = build(genotype, genotype.task(3)).train()
        how = data.preprocessing(input, (0.5, 0.45, 0.4), (0.25, 0.2, 0.3))
        shown = torch.cat([images for images, _ in Pictures.of(data.test, how, torch.device("cpu")).in_order(8)])
        with torch.no_grad():
            network(shown)  # so that batch norms have statistics
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        trained = Trained(genotype, tmp_path / "weights.safetensors", list("abc"), how, "top1", 0.5, 0.5)
        export_trained(trained, tmp_path / "export")
        card = json.loads((tmp_path / "export" / "model.json").read_text())
        seen, session = (
            Preprocessing.from_json(card["preprocessing"]),
            onnxruntime.InferenceSession(tmp_path / "export" / "model.onnx"),
        )
        assert session.get_inputs()[0].shape == [1, *input] == card["files"]["model.onnx"]["input"][1]
        found = np.concatenate([session.run(["logits"], {"image": seen(file)})[0] for file in files])
        with torch.no_grad():
            expected = load_network(genotype, genotype.task(3), tmp_path / "export" / "weights.safetensors")(shown).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-3)
