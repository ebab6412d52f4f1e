"""Trained weights of other libraries: a file of theirs becomes our anchor, with their outputs; a wrong file is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_networks import WITH_REFERENCE, randomise, reference_network
from safetensors.torch import save_file
from torch import Tensor, nn

from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.weights import expand, load_pretrained

SIZE = 64
# float32 keeps 1e-7; a hundred layers summed in another order keep more than 1e-4 of the largest logit
TOLERANCE = 1e-4
IMPORTED = [name for name in WITH_REFERENCE if anchor(name).reference.partition("/")[0] in anchor(name).weights]


def saved(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def difference(one: nn.Module, other: nn.Module, size: int = SIZE) -> float:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = one.eval()(x), other.eval()(x)
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("name", IMPORTED)
def test_a_file_of_the_library_becomes_the_anchor_with_the_same_outputs(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = reference_network(anchor(name).reference)
    randomise(theirs)
    ours = load_pretrained(anchor(name), saved(theirs, tmp_path / "theirs.pth"))
    assert difference(theirs, ours, 224 if "pool=" in anchor(name).genotype.text else SIZE) < TOLERANCE


def test_braces() -> None:
    assert expand("a b.{0,2}.c\n{x,y{1..3}}") == ["a", "b.0.c", "b.2.c", "x", "y1", "y2", "y3"]
    assert expand("{a,b}.{1..2}") == ["a.1", "a.2", "b.1", "b.2"]
    assert expand("l.{0, 1}") == ["l.0", "l.1"]


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    network = reference_network("torchvision/squeezenet1_1")
    return network.eval()


def test_formats_and_wrappers(theirs: nn.Module, tmp_path: Path) -> None:
    state = theirs.state_dict()
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "wrapped.pth")
    torch.save({n: t.half().float() for n, t in state.items()}, tmp_path / "rounded.pth")
    torch.save({n: t.half() for n, t in state.items()}, tmp_path / "half.pth")
    save_file(state, tmp_path / "theirs.safetensors")
    np.savez(tmp_path / "theirs.npz", **{n: t.numpy() for n, t in state.items()})
    known = anchor("squeezenet:1.1")
    for name in ("wrapped.pth", "theirs.safetensors", "theirs.npz"):
        assert difference(theirs, load_pretrained(known, tmp_path / name)) < TOLERANCE
    half, rounded = (load_pretrained(known, tmp_path / f"{name}.pth") for name in ("half", "rounded"))
    assert difference(rounded, half) == 0


def test_another_number_of_classes_comes_from_the_file(theirs: nn.Module, tmp_path: Path) -> None:
    state = theirs.state_dict()
    state["classifier.1.weight"], state["classifier.1.bias"] = torch.randn(7, 512, 1, 1), torch.randn(7)
    torch.save(state, tmp_path / "seven.pth")
    with torch.no_grad():
        assert load_pretrained(anchor("squeezenet:1.1"), tmp_path / "seven.pth")(torch.randn(1, 3, 64, 64)).shape == (1, 7)


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {n: t for n, t in state.items() if n != name}


WRONG = {
    "missing.pth": (None, "there is no file"),
    "text.pth": (b"hello", "is not a weights file"),
    "text.safetensors": (b"hello", "is not a weights file"),
    "text.npz": (b"hello", "is not a weights file"),
    "empty.pth": (b"", "is not a weights file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    content, message = WRONG[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_pretrained(anchor("squeezenet:1.1"), tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_another_network_is_named(theirs: nn.Module, tmp_path: Path) -> None:
    state, path = theirs.state_dict(), tmp_path / "wrong.pth"
    weight = state["features.0.weight"]
    for changed, message in (
        ({"a.weight": weight}, "features.0"),
        ([1, 2], "holds no state dict"),
        (without(state, "features.0.bias"), "layer features.0 of torchvision's squeezenet:1.1 has no bias"),
        (state | {"features.0.weight": weight[:3]}, r"has shape \(3, 3, 3, 3\), not \(64, 3, 3, 3\)"),
        (state | {"more.weight": weight}, "has tensors that match no layer of squeezenet:1.1: more.weight"),
    ):
        torch.save(changed, path)
        with pytest.raises(InputError, match=message):
            load_pretrained(anchor("squeezenet:1.1"), path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="is not a weights file"):
        load_pretrained(anchor("squeezenet:1.1"), tmp_path / "evil.pth")


def _quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


LAYER = "classifier.1.weight"
UNUSUAL = {
    "quantised": (_quantised, "is quantised; expected dense tensors of real numbers"),
    "sparse": (lambda t: t.to_sparse(), "is sparse or nested"),
    "compressed": (lambda t: t.flatten(1).to_sparse_csr(), "is sparse or nested"),
    "complex": (lambda t: t.to(torch.complex64), "is complex"),
    "nan": (lambda t: t * float("nan"), "holds values that are not finite"),
    "infinite": (lambda t: t + float("inf"), "holds values that are not finite"),
    "too large for float32": (lambda t: t.double() + 1e300, "holds values that are not finite"),
    "whole numbers": (lambda t: t.to(torch.int8), "has integers (torch.int8), like quantised weights"),
    "a scalar": (lambda t: torch.tensor(1.0), "weight has shape (), not"),
    "of no classes": (lambda t: t[:0], "layer classifier.1 has no classes"),
    "without data": (lambda t: t.to("meta"), "is larger than its data in the file"),
    "one number as many": (lambda t: torch.zeros(1).expand(10**6, 10**6), "is larger than its data in the file"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_tensor_that_is_no_layers_is_refused(name: str, theirs: nn.Module, tmp_path: Path) -> None:
    change, message = UNUSUAL[name]
    state = theirs.state_dict()
    torch.save(state | {LAYER: change(state[LAYER])}, tmp_path / "theirs.pth")
    with pytest.raises(InputError) as error:
        load_pretrained(anchor("squeezenet:1.1"), tmp_path / "theirs.pth")
    assert message in str(error.value) and "theirs.pth" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "held", [{1: torch.zeros(3)}, {None: torch.zeros(3)}, {"a": 1.0}, {}, [], torch.zeros(3), {"model": 7}]
)
def test_a_file_that_holds_no_tensors_by_name_is_refused(held: object, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "theirs.pth")
    with pytest.raises(InputError, match="holds no state dict: expected tensors by name"):
        load_pretrained(anchor("squeezenet:1.1"), tmp_path / "theirs.pth")


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([{}], dtype=object), np.array([1], "datetime64[s]")])
def test_arrays_that_are_no_tensors_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "theirs.npz", array)
    with pytest.raises(InputError, match="is not a weights file"):
        load_pretrained(anchor("squeezenet:1.1"), tmp_path / "theirs.npz")
