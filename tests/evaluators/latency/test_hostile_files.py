"""Device profiles, bench results, manifests and files of times, damaged in many ways: one message each, or they are used."""

import base64
import hashlib
import json
import random
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hostile import mutated

from evaluators.latency.device.bundle import import_results
from evaluators.latency.device.choose_networks import choose_networks
from evaluators.latency.device.profile import Calibration, Device, MeasuredNetwork, Profile
from evaluators.latency.device.profile_files import load_profile, save_profile
from evaluators.latency.device.space_key import space_key
from evaluators.latency.device.stored_times import Times
from evaluators.latency.kernels.lowering import LOWERING, total_kernels
from evaluators.latency.predict.predictor import Predictor
from evaluators.latency.timing.bench import FORMAT
from evaluators.latency.timing.measure import Measurement
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

SPACE = replace(load_space("tiny"), inputs=((3, 16, 16),))
DEVICE = Device("made up", "onnxruntime_cpu", "1", 1, "float32")
COUNT = 120  # of each kind; benchmarks/fuzz.py tries more


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@cache
def networks() -> tuple[MeasuredNetwork, ...]:
    rng = np.random.default_rng(0)
    found = []
    for chosen in choose_networks(SPACE, 8, 20, 0):
        kernels = total_kernels(chosen.genotype, chosen.genotype.task(chosen.classes))
        ms = float(0.1 + 1e-6 * sum(totals[3] for totals in kernels.values()) * rng.uniform(0.9, 1.1))
        found.append(MeasuredNetwork(chosen.genotype.text, chosen.classes, chosen.split, ms, ms, ms, 30, 0.01, kernels))
    return tuple(found)


def stored() -> Path:
    """A sound profile's file."""
    known = Calibration("tiny", SPACE.inputs, 0, "2026-01-01", 1.0, LOWERING, 0.3, 0.01, 0.1, 0.0, networks())
    return save_profile(Profile("board", DEVICE, "2026-01-01", {"cores": 2}, {space_key(SPACE): known}))


def use(path: Path) -> None:
    """All that is made of a profile."""
    profile = load_profile(str(path), anywhere=True)
    for calibration in profile.spaces.values():
        predictor = Predictor(profile, calibration)
        genotype = Genotype.parse(calibration.networks[0].genotype)
        found = predictor.predict(genotype, genotype.task(10))
        assert 0 <= found.ms <= found.bound_ms < float("inf") and predictor.quality


def refused_or_fine(data: Any, file: Path, action: Callable[[], object]) -> None:
    """Each of many mutants of a file is used, or refused in one line that says no more than it must."""
    rng, refused = random.Random(0), 0
    for _ in range(COUNT):
        mutant = mutated(data, rng)
        file.write_text(json.dumps(mutant))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                action()
        except InputError as error:
            refused += 1
            assert 20 < len(str(error)) < 1500 and "\n" not in str(error), str(error)
    assert refused > COUNT / 2


def test_profiles() -> None:
    path = stored()
    use(path)
    refused_or_fine(json.loads(path.read_text()), path, lambda: use(path))


def bundle(folder: Path) -> tuple[Path, Path]:
    """A bundle's manifest without the files that only the device needs, and results as its script writes them."""
    chosen = choose_networks(SPACE, 8, 20, 0)
    entries = [
        {"file": f"{i}.onnx", "sha256": "0", "genotype": c.genotype.text, "classes": c.classes, "split": c.split}
        for i, c in enumerate(chosen)
    ]
    manifest = {
        "format": FORMAT,
        "space": "tiny",
        "key": "0123",
        "inputs": list(SPACE.inputs),
        "seed": 0,
        "seconds": 1.0,
        "runtime": DEVICE.runtime,
        "dtype": DEVICE.dtype,
        "networks": entries,
        "reference": {"file": "reference.onnx", "sha256": "0", "genotype": "head"},
    }
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    told = {
        "graph": base64.b64encode(zlib.compress(graph.SerializeToString())).decode(),
        "times": [
            ["a", "Conv", [[1, 3, 16, 16], [8, 3, 3, 3]], [[1, 8, 16, 16]], 0.01],
            ["b", "Add", [[1, 8], [1, 8]], [[1, 8]], 0.001],
        ],
    }
    results = {
        "format": FORMAT,
        "device": vars(DEVICE),
        "clock": "cpu",
        "seconds": 1.0,
        "machine": {},
        "load": 0.1,
        "created": "2026-01-01T00:00:00+00:00",
        "samples": {e["file"]: [[[0.001 * i], [0.001 * i], 0.0003] for _ in range(4)] for i, e in enumerate(entries, 1)},
        "kernels": {e["file"]: told for e in entries},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / "manifest.json", _bound(folder, results)


def _bound(folder: Path, results: dict[str, Any]) -> Path:
    """The results, said to be of the manifest as it is."""
    results["bundle"] = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / "results.json").write_text(json.dumps(results))
    return folder / "results.json"


def use_results(folder: Path) -> None:
    use(save_profile(import_results(folder / "results.json", folder)))


def test_results(tmp_path: Path) -> None:
    _, results = bundle(tmp_path)
    use_results(tmp_path)
    refused_or_fine(json.loads(results.read_text()), results, lambda: use_results(tmp_path))


def test_manifests(tmp_path: Path) -> None:
    manifest, results = bundle(tmp_path)
    found = json.loads(results.read_text())

    def action() -> None:
        _bound(tmp_path, found)
        use_results(tmp_path)

    refused_or_fine(json.loads(manifest.read_text()), manifest, action)


def test_times(tmp_path: Path) -> None:
    path, genotype = tmp_path / "d.times.jsonl", Genotype.parse("conv 16/1\nhead\n")
    Times(path, "today").add(genotype, SPACE.task(10), Measurement(1.0, 1.1, 1.0, 0.1, 9, 1.0, 0.01, 0.0))
    header, line = path.read_text().splitlines()
    rng = random.Random(0)
    for _ in range(COUNT):
        path.write_text(f"{header}\n{json.dumps(mutated(json.loads(line), rng))}\n")
        try:
            Times(path, "today")
        except InputError as error:
            assert "delete it" in str(error)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": 3, "a": ' + "[" * 100_000, "1" * 5000, "\udcff", "null"])
def test_files_that_are_no_json_of_ours(text: str, tmp_path: Path) -> None:
    for name in ("board.json", "manifest.json", "results.json"):
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"damaged|not a device profile"):
        load_profile(str(tmp_path / "board.json"), anywhere=True)
    with pytest.raises(InputError, match=r"manifest.json is (damaged|not a)"):
        import_results(tmp_path / "results.json", tmp_path)
