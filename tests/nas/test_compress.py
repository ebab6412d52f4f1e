"""`nas compress` is a search around a network, which inherits that network's weights."""

import pytest

from nas.sessions import search
from search_spaces.errors import InputError
from search_spaces.space_file import load_space


@pytest.fixture
def compressed(nas_anywhere, monkeypatch):
    """Runs `nas compress ARGUMENTS` up to the search; returns its configuration, or the error message."""
    asked = []

    def start(config, path, progress):
        asked.append(config)
        raise InputError("begun")

    def run(*arguments):
        asked.clear()
        code, _, err = nas_anywhere("compress", *arguments)
        assert code == 2
        return asked[0] if err == "nas: begun\n" else err

    monkeypatch.setattr(search, "start", start)
    return run


def test_an_anchor_is_compressed_from_its_own_weights_or_those_given(compressed, tmp_path):
    config = compressed("mobilenet_v2", "--latency-budget", "8ms", "--trials", "5", "--seed", "3")
    assert (config.space, config.weights, config.latency_budget_ms) == ("narrower:mobilenet_v2", "mobilenet_v2", 8.0)
    assert (config.trials, config.seed) == (5, 3)
    (tmp_path / "mine.pth").write_bytes(b"")
    for given in ("mine.pth", "mobilenet_v2=mine.pth"):
        assert compressed("mobilenet_v2", "--latency-budget", "8ms", "--weights", given).weights == "mobilenet_v2=mine.pth"
    assert compressed("mobilenet_v2", "--latency-budget", "8ms", "--weights", "torchvision/mobilenet_v2").weights.startswith(
        "torch"
    )


def test_a_folder_is_compressed_from_its_own_weights(compressed, donor_folder):
    config = compressed(donor_folder, "--latency-budget", "8ms")
    assert config.weights == str(donor_folder)
    assert load_space(config.space).input == load_space(f"narrower:{donor_folder / 'genotype.txt'}").input
    assert "has its own weights; leave out --weights" in compressed(
        donor_folder, "--latency-budget", "8ms", "--weights", "x.pth"
    )


def test_what_cannot_be_compressed_is_one_message(compressed, tmp_path):
    assert '"mobilenet_v9" is not an anchor, or a folder of `nas train`' in compressed(
        "mobilenet_v9", "--latency-budget", "8ms"
    )
    assert "holds no trained network" in compressed(tmp_path, "--latency-budget", "8ms")
    other = compressed("mobilenet_v2", "--latency-budget", "8ms", "--weights", "mobilenet_v3=x.pth")
    assert other == "nas: --weights mobilenet_v3=x.pth are of mobilenet_v3, not of mobilenet_v2\n"


def test_a_network_that_cannot_be_narrowed_is_named(nas_anywhere):
    code, _, err = nas_anywhere("compress", "squeezenet", "--latency-budget", "8ms")
    assert code == 2 and err.startswith('nas: squeezenet: block "concat" has branches; only sequences of blocks')
