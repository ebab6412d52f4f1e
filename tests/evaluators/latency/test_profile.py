"""Device profiles: round trip, refusals with a message for a person, measuring that can be interrupted."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from evaluators.latency.device import measure_profile as profiles
from evaluators.latency.device.choose_networks import Chosen, choose_networks
from evaluators.latency.device.local_device import local_device
from evaluators.latency.device.measure_profile import measure_profile
from evaluators.latency.device.profile import Calibration, MeasuredNetwork, Profile
from evaluators.latency.device.profile_files import list_profiles, load_profile, save_profile
from evaluators.latency.device.space_key import space_key
from evaluators.latency.device.storage import user_folder
from evaluators.latency.kernels.lowering import LOWERING
from evaluators.latency.predict.predictor import Predictor
from search_spaces.anchor import anchors
from search_spaces.errors import InputError
from search_spaces.space_file import load_space

NETWORK = MeasuredNetwork("input 3x32x32\nconv 16/2\nhead\n", 10, "fit", 1.0, 1.1, 1.2, 30, 0.01, {"linear": (1, 2, 3, 4, 5)})
CALIBRATION = Calibration("tiny", ((3, 32, 32), (3, 32, 48)), 0, "2026-01-01", 1.0, LOWERING, 0.3, 0.01, 0.1, 0.5, (NETWORK,))

KEY = space_key(load_space("tiny"))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return user_folder()


def stored(**changes: Any) -> Path:
    device = replace(local_device(), **changes)
    return save_profile(Profile(device.name, device, "2026-01-01", {"cores": 2}, {KEY: CALIBRATION}))


def test_round_trip() -> None:
    path = stored()
    again = load_profile("local")
    assert again == load_profile(str(path)) == load_profile(again.name)
    assert again.spaces == {KEY: CALIBRATION} and again.device == local_device()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def edited(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return edited


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "[]", "not a device profile"),
        (edit(lambda d: d.pop("schema")), "not a device profile"),
        (edit(lambda d: d.update(schema=99)), "version 99"),
        (edit(lambda d: d.pop("device")), "device"),
        (edit(lambda d: d["device"].pop("cpu")), "cpu"),
        (edit(lambda d: d["spaces"][KEY].pop("networks")), "networks"),
        (edit(lambda d: d["spaces"][KEY].pop("inputs")), "inputs"),
        (edit(lambda d: d["spaces"][KEY].update(inputs=[[3, 32]])), "damaged"),
        (edit(lambda d: d["spaces"][KEY].update(inputs=[[3, 32, 0]])), r"damaged: .*inputs\[0\]: an input is 8 to 4096 pixels"),
        (edit(lambda d: d["spaces"][KEY]["networks"][0].update(ms=-1)), "ms must be at least 1e-06, not -1"),
        (edit(lambda d: d["spaces"][KEY]["networks"][0].update(ms=1e-300)), "ms must be at least 1e-06"),
        (edit(lambda d: d["spaces"][KEY]["networks"][0].update(ms=float("nan"))), "ms must be a finite number, not nan"),
        (edit(lambda d: d["spaces"][KEY]["networks"][0].update(ms=float("inf"))), "ms must be a finite number, not inf"),
        (edit(lambda d: d["spaces"][KEY]["networks"][0].update(genotype="convolution")), "convolution"),
        (edit(lambda d: d["spaces"][KEY].update(created="yesterday")), "isoformat"),
        (edit(lambda d: d["spaces"][KEY].update(created="x" * 5000)), "isoformat string: 'xxx"),
        (edit(lambda d: d["device"].update(runtime=True)), "runtime must be text, not True"),
        (edit(lambda d: d["spaces"][KEY]["networks"][0].update(kernels=3)), "damaged"),
        (edit(lambda d: d.update(spaces=7)), "damaged"),
    ],
)
def test_damaged_profiles_say_what_to_do(damage: Callable[[str], str], message: str) -> None:
    path = stored()
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=message) as caught:
        load_profile("local")
    assert "nas device measure" in str(caught.value) and path.name in str(caught.value) and len(str(caught.value)) < 1000
    assert [bool(entry.problem) for entry in list_profiles()] == [True]


@pytest.mark.parametrize("field", ["cpu", "runtime_version", "dtype"])
def test_another_device_is_refused(field: str) -> None:
    other = "int8" if field == "dtype" else "other"
    path = stored(**{field: other})
    with pytest.raises(InputError, match=rf"{other}, here it is .* run `nas device measure`"):
        load_profile(str(path))
    assert load_profile(str(path), anywhere=True).device.name == path.stem


def test_no_profile_yet() -> None:
    with pytest.raises(InputError, match="not been measured yet"):
        load_profile("local")
    with pytest.raises(InputError, match='no device "lokal"; did you mean "local"'):
        load_profile("lokal")
    with pytest.raises(InputError, match=r"no device profile file /nowhere\.json"):
        load_profile("/nowhere.json")


def test_a_space_that_was_not_measured() -> None:
    stored()
    with pytest.raises(InputError, match="nas device measure --space mobile"):
        load_profile("local").calibration(load_space("mobile"))


def test_listing_imports_no_torch() -> None:
    code = "import sys, evaluators.latency.device.profile_files as p; p.list_profiles(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_anchors_are_never_measured_and_every_choice_of_blocks_is() -> None:
    chosen = choose_networks(load_space("tiny"), 45, 24, 0)
    assert len({c.genotype for c in chosen}) == len(chosen) == 69
    assert not {c.genotype.blocks for c in chosen} & {a.genotype.blocks for a in anchors()}
    kinds = {spec.kind for c in chosen if c.split == "fit" for spec in c.genotype.blocks}
    assert kinds >= {"conv", "inverted_residual", "shuffle", "eesp", "csc", "fe", "head"}
    assert chosen == choose_networks(load_space("tiny"), 45, 24, 0)


@pytest.mark.parametrize(("fit", "verify"), [(20, 20), (42, 22)])
def test_every_input_is_measured_to_fit_to_and_to_verify_with_and_padded_in_both_ways(fit: int, verify: int) -> None:
    space = replace(load_space("mobile"), inputs=((3, 96, 96), (3, 96, 160), (3, 224, 224)))
    chosen = choose_networks(space, fit, verify, 0)
    for split, count in (("fit", fit), ("verify", verify)):
        met = [c.genotype for c in chosen if c.split == split]
        assert len(met) == count and {(g.input, g == g.padded("same")) for g in met} == set(
            product(space.inputs, (True, False))
        )
        counts = Counter(g.input for g in met)
        assert max(counts.values()) - min(counts.values()) <= 2
        for genotype in met:
            replace(space, padding="same" if genotype == genotype.padded("same") else "symmetric").encode(genotype)


def test_really_measured_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    space = load_space("tiny")
    monkeypatch.setattr(profiles, "_GROUP", 4)
    seen: list[float] = []

    def interrupt(fraction: float, what: str) -> None:
        seen.append(fraction)
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_profile(space, interrupt, seconds=0.5, fit=6, verify=2)
    exported: list[Chosen] = []
    monkeypatch.setattr(profiles, "_exported", lambda g, *more, real=profiles._exported: exported.extend(g) or real(g, *more))
    measured = measure_profile(space, lambda fraction, what: seen.append(fraction), seconds=0.5, fit=6, verify=2)
    assert len(exported) == 4 and seen[-1] == 1.0
    assert load_profile("local") == measured
    assert [p.suffix for p in user_folder().iterdir()] == [".json"]
    networks = measured.calibration(space).networks
    assert [n.split for n in networks] == ["fit"] * 6 + ["verify"] * 2
    assert all(0 < n.p50_ms <= n.p90_ms and n.n >= 12 and n.kernels for n in networks)
    genotype = choose_networks(space, 6, 2, 0)[0].genotype
    assert Predictor(measured, measured.calibration(space), confidence=0.5).predict(genotype, space.task(10)).ms > 0
