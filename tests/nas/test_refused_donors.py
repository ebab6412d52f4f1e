"""Weights that cannot be inherited from, and inputs that a space cannot have: one message each, and nothing is left behind."""

import json
import shutil

import pytest
import torch
from torchvision import models


@pytest.fixture
def refused(nas_here, tmp_path, workshop):
    """Runs a command that must be refused before anything is made; returns its one line."""

    def run(*arguments):
        before = set(tmp_path.iterdir())
        code, out, err = nas_here(*arguments)
        assert code == 2 and err.startswith("nas: ") and err.count("\n") == 1, out + err
        assert set(tmp_path.iterdir()) == before
        return err

    return run


@pytest.fixture(params=["search", "train"])
def command(request, workshop, tmp_path):
    """The beginning of a command that may inherit."""
    data = ["--data", f"imagefolder:{workshop / 'images'}"]
    if request.param == "train":
        (tmp_path / "net.txt").write_text("input 3x16x16\nconv 8/1\nhead\n")
        return ["train", "net.txt", *data, "--to", "out"]
    return ["search", "--space", workshop / "small.yaml", "--latency-budget", "50ms", *data, "--run", "out"]


def _damaged(folder):
    torch.save(models.squeezenet1_1().state_dict(), folder / "net.pth")
    (folder / "net.pth").write_bytes((folder / "net.pth").read_bytes()[:5000])


def _foreign(folder):
    torch.save(models.shufflenet_v2_x0_5().state_dict(), folder / "net.pth")


def _half(folder):
    tensors = models.squeezenet1_1().state_dict()
    torch.save(dict(list(tensors.items())[: len(tensors) // 2]), folder / "net.pth")


def _other_shape(folder):
    tensors = models.squeezenet1_1().state_dict()
    torch.save(tensors | {"features.0.weight": torch.zeros(32, 3, 3, 3)}, folder / "net.pth")


def _not_finite(folder):
    tensors = models.squeezenet1_1().state_dict()
    torch.save({name: tensor * float("nan") for name, tensor in tensors.items()}, folder / "net.pth")


@pytest.mark.parametrize("make", [_damaged, _foreign, _half, _other_shape, _not_finite])
def test_a_file_of_weights_that_are_not_the_networks(refused, command, make, tmp_path):
    make(tmp_path)
    assert "net.pth" in refused(*command, "--weights", "squeezenet:1.1=net.pth")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("squeezenet:1.1=none.pth", "none.pth"),
        ("net.pth", "it is not known which network net.pth belongs to"),
        ("no/where", "there is no folder no/where"),
        ("efficientnet_lite:lite9", "efficientnet_lite"),
        ("mobilenet_v9=net.pth", 'did you mean "mobilenet_v'),
    ],
)
def test_weights_that_are_not_there(refused, command, weights, message, tmp_path):
    (tmp_path / "net.pth").write_bytes(b"")
    assert message in refused(*command, "--weights", weights)


def _without_card(folder):
    (folder / "model.json").unlink()


def _damaged_card(folder):
    (folder / "model.json").write_text((folder / "model.json").read_text()[:100])


def _cut_off(folder):
    (folder / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes()[:1000])


def _of_another_network(folder):
    (folder / "genotype.txt").write_text("input 3x24x24\nconv 32/1\nhead\n")


def _of_other_classes(folder):
    card = json.loads((folder / "model.json").read_text())
    card["files"]["model.onnx"]["output"][1] = [1, 7]
    (folder / "model.json").write_text(json.dumps(card))


@pytest.mark.parametrize("harm", [_without_card, _damaged_card, _cut_off, _of_another_network, _of_other_classes])
def test_a_folder_that_is_damaged(refused, command, donor_folder, harm, tmp_path):
    shutil.copytree(donor_folder / "export", tmp_path / "mine")
    harm(tmp_path / "mine")
    assert "mine" in refused(*command, "--weights", "mine")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("input: {channels: 3, size: [16, 4]}", "mine.yaml: an input is 8 to 4096 pixels"),
        ("input: {channels: 2, size: [16, 24]}", "mine.yaml: an input has 3 channels (RGB) or 1 (grey), not 2"),
        ("input: {channels: 3, size: []}", "mine.yaml: input"),
        ("input: {channels: 3, size: [16, 16x40]}", "inputs 3x16x40 and 3x16x16: all must have the same aspect ratio"),
        ("input: {channels: 3, sizes: [16, 24]}", "mine.yaml: input"),
    ],
)
def test_an_input_that_a_space_cannot_have(refused, small_space, workshop, tmp_path, line, message):
    (tmp_path / "mine.yaml").write_text(small_space.replace("input: [3, 16, 16]", line))
    asked = ["--space", "mine.yaml", "--latency-budget", "50ms", "--run", "out", "--no-measure"]
    assert message in refused("search", "--from-scratch", *asked)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("input 2x16x16", "net.txt, line 1: an input has 3 channels (RGB) or 1 (grey), not 2"),
        ("input 3x4x16", "net.txt, line 1: an input is 8 to 4096 pixels"),
        ("input 16", "net.txt, line 1"),
    ],
)
def test_an_input_that_a_genotype_cannot_have(refused, workshop, tmp_path, line, message):
    (tmp_path / "net.txt").write_text(f"{line}\nconv 8/1\nhead\n")
    data = f"imagefolder:{workshop / 'images'}"
    assert message in refused("train", "net.txt", "--from-scratch", "--data", data, "--to", "out")
