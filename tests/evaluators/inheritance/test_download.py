"""Donors that are downloaded: from a server on the loopback, with a right checksum, a wrong one, and without a server."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import timm
import torch
import torchvision
from torch import nn

from evaluators.inheritance.find import find_donor
from search_spaces.errors import InputError

MODELS = ["torchvision/squeezenet1_1", "timm/mobilenetv2_050"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(address, folder) of a server of files."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}", folder
        serving.shutdown()


def network_of(name: str) -> nn.Module:
    library, _, model = name.partition("/")
    torch.manual_seed(0)
    return torchvision.models.get_model(model) if library == "torchvision" else timm.create_model(model)


def serve(network: nn.Module, folder: Path, digits: str | None = None) -> str:
    """Writes its weights under a name with the first digits of their checksum, or those given; returns the name."""
    torch.save(network.state_dict(), folder / "weights")
    digits = digits or sha256((folder / "weights").read_bytes()).hexdigest()[:8]
    return (folder / "weights").rename(folder / f"weights-{digits}.pth").name


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[object]:
    """Sets where the libraries download from; what they download is kept in a folder of the test's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))

    def set_address(url: str) -> None:
        known = timm.models.get_pretrained_cfg("mobilenetv2_050.lamb_in1k")
        monkeypatch.setattr(torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.value, "url", url)
        monkeypatch.setattr(timm.models, "get_pretrained_cfg", lambda name: replace(known, url=url))

    yield set_address


@pytest.mark.parametrize("name", MODELS)
def test_what_is_downloaded_is_the_librarys_network(name, server, address, capsys) -> None:
    url, folder = server
    network = network_of(name).eval()
    address(f"{url}/{serve(network, folder)}")
    donor = find_donor(name, download=True)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(x), donor.network()(x)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert donor.source.startswith(name.partition("/")[0]) and capsys.readouterr().out == ""
    (folder / next(folder.iterdir()).name).unlink()
    assert find_donor(donor.name, download=True).source == donor.source  # the anchor's name; nothing is downloaded twice


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_checksum_is_refused_and_nothing_is_kept(name, server, address, tmp_path) -> None:
    url, folder = server
    address(f"{url}/{serve(network_of(name), folder, '0123abcd')}")
    with pytest.raises(InputError, match=rf'cannot download {name}: invalid hash value \(expected "0123abcd"'):
        find_donor(name, download=True)
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", MODELS)
def test_without_a_server_one_message_says_so(name, address) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/weights-0123abcd.pth"
    address(url)
    with pytest.raises(InputError, match=f"cannot download {name}: .*refused"):
        find_donor(name, download=True)


def test_nothing_is_downloaded_unless_it_was_allowed(address) -> None:
    address("http://127.0.0.1:1/never-0123abcd.pth")
    with pytest.raises(InputError, match="`--download` downloads torchvision/squeezenet1_1"):
        find_donor("torchvision/squeezenet1_1")
