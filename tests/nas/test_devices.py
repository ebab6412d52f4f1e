"""`nas device`: measuring with another runtime, checking, and bundles timed without torch and this project."""

import base64
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from made_up_search import View

from evaluators.latency.device.bundle import import_results, write_bundle
from evaluators.latency.device.calibrate import calibrated
from evaluators.latency.device.choose_networks import Effort, choose_networks
from evaluators.latency.device.local_device import local_device
from evaluators.latency.device.measure_profile import measure_profile
from evaluators.latency.device.profile import Profile
from evaluators.latency.device.profile_files import load_profile
from evaluators.latency.device.space_key import space_key
from evaluators.latency.kernels import int8_profile
from evaluators.latency.kernels.onnxruntime_profile import kernel_times
from evaluators.latency.predict.predictor import Predictor
from evaluators.latency.timing.measure import Sample
from nas.sessions.device import verdict
from nas.sessions.measure import say_quality
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.space_file import load_space

SHORT = Effort(20, 20, 1.0)
NO_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "evaluators", "search_spaces", "nas"):
            raise ImportError(f"{name} is not to be had here")

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def space(workshop):
    return load_space(str(workshop / "small.yaml"))


@pytest.fixture(scope="module")
def bundle(space, tmp_path_factory):
    return write_bundle(space, tmp_path_factory.mktemp("bundle") / "small", SHORT, seed=0, progress=lambda *_: None)


@pytest.fixture(scope="module")
def results(bundle, tmp_path_factory):
    """What bench.py writes where neither torch nor this project can be imported."""
    path = tmp_path_factory.mktemp("results") / "results.json"
    done = bench(bundle, path)
    assert done.returncode == 0, done.stderr
    return path


def bench(bundle, path, *flags):
    isolated = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-I", "-c", NO_TORCH, str(bundle / "bench.py"), "--to", str(path), *flags]
    return subprocess.run(command, env=isolated, cwd=path.parent, capture_output=True, text=True)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder of profiles."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def nas(nas_here):
    return nas_here


@pytest.mark.parametrize(("contention", "said"), [(0.05, False), (0.4, True)])
def test_a_profile_of_a_busy_moment_is_said_to_be_one(contention, said):
    path = Path(__file__).parents[1] / "data" / "profile_mobile.json"
    profile = load_profile(str(path), anywhere=True)
    measured = replace(profile.calibration(load_space("mobile")), contention=contention)
    view = View()
    say_quality(view, profile, measured, path)
    assert ("The machine was 40% slower than when quiet" in "\n".join(view.lines)) == said


def test_a_bundle_holds_what_it_says(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {p.name for p in bundle.iterdir()} == {"manifest.json", "bench.py", "networks", "reference.onnx"}
    assert [n["split"] for n in manifest["networks"]] == ["fit"] * 20 + ["verify"] * 20
    assert all((bundle / n["file"]).is_file() for n in manifest["networks"])
    with pytest.raises(InputError, match="already exists"):
        write_bundle(load_space("tiny"), bundle, Effort(1, 1, 1.0), seed=0, progress=lambda *_: None)


def test_a_bundle_that_was_not_finished_leaves_nothing_behind(space, tmp_path):
    def stop(share, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(space, tmp_path / "small", Effort(1, 1, 1.0), seed=0, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_cannot_be_written_is_said(nas, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = nas("device", "bundle", "--space", "tiny", "--to", tmp_path / "file" / "bundle")
    assert code == 2 and "cannot make the bundle" in err and "Traceback" not in err


def test_imported_results_predict_as_if_measured_here(bundle, results, space, own_folder):
    imported = import_results(results, bundle)
    found = json.loads(results.read_text())
    chosen = choose_networks(space, 20, 20, 0)
    samples = [[Sample(tuple(w), tuple(c), r) for w, c, r in visits] for visits in in_order(found, bundle)]
    kernels = {i: network.kernel_times for i, network in enumerate(imported.calibration(space).networks)}
    told = {"seconds": found["seconds"], "load": found["load"], "kernels": kernels}
    here = calibrated((space.name, space.inputs), chosen, dict(enumerate(samples)), seed=0, **told)
    measured = Profile("here", imported.device, "", {}, {space_key(space): here})
    genotypes = [c.genotype for c in choose_networks(space, 10, 10, 5)]
    expected, actual = (
        Predictor(p, p.calibration(space)).predict_many(genotypes, space.task(10)) for p in (measured, imported)
    )
    assert imported.calibration(space).space == "small" and actual == expected
    assert imported.device == local_device()
    assert imported.calibration(space).networks == here.networks


def test_imported_kernels_are_those_that_run_here(bundle, results, space, own_folder):
    found, imported = json.loads(results.read_text())["kernels"], import_results(results, bundle)
    for i, network in enumerate(imported.calibration(space).networks[:4]):
        here = kernel_times(bundle / "networks" / f"{i:03d}.onnx", runs=1)
        assert Counter((k.kind, k.size) for k in here) == Counter((kind, size) for kind, size, _ in network.kernel_times)
        told = [ms for _, op, *_, ms in found[f"networks/{i:03d}.onnx"]["times"] if op not in ("Reshape", "Flatten")]
        assert [ms for *_, ms in network.kernel_times] == told and min(told) > 0


def test_kernels_that_the_lowering_does_not_know_are_not_reckoned_with(bundle, results, space, own_folder):
    imported = import_results(results, bundle)
    calibration = imported.calibration(space)
    assert Predictor(imported, calibration)._models.kernels is not None
    other = tuple(
        replace(n, kernel_times=tuple(("conv_plain", size, ms) for _, size, ms in n.kernel_times)) for n in calibration.networks
    )
    elsewhere = Predictor(imported, replace(calibration, networks=other))
    assert elsewhere._models.kernels is None
    untold = replace(calibration, networks=tuple(replace(n, kernel_times=()) for n in calibration.networks))
    genotype, task = Genotype.parse(calibration.networks[0].genotype), space.task(10)
    assert elsewhere.predict(genotype, task) == Predictor(imported, untold).predict(genotype, task)


def in_order(found, bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    return [found["samples"][n["file"]] for n in manifest["networks"]]


def test_timing_goes_on_where_it_was_stopped(bundle, results, tmp_path):
    found = json.loads(results.read_text())
    for key in ("created", "load", "machine"):
        del found[key]
    gone = dict(list(found["samples"].items())[:3])
    for name in gone:
        del found["samples"][name]
    (tmp_path / "again.json.partial").write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"incomplete \(3 of 40 networks"):
        import_results(tmp_path / "again.json.partial", bundle)
    done = bench(bundle, tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert "37 of 40 networks timed" in done.stdout and len(again["samples"]) == 40
    assert {k: v for k, v in again["samples"].items() if k not in gone} == found["samples"]
    assert not (tmp_path / "again.json.partial").exists()


def test_a_damaged_bundle_is_not_timed(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "networks" / "003.onnx").write_bytes(b"")
    done = bench(copy, tmp_path / "results.json")
    assert done.returncode == 1 and done.stderr.strip() == "bench.py: networks/003.onnx is damaged; copy the bundle again"
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"runtime": "abacus"}))
    done = bench(copy, tmp_path / "results.json")
    assert done.returncode == 1 and 'unknown runtime "abacus"' in done.stderr and "Traceback" not in done.stderr


def first(found):
    return next(iter(found["samples"].values()))


def kernels(found):
    return next(iter(found["kernels"].values()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=9), "not a results file of format 4"),
        (lambda d: d.update(bundle="0" * 64), "was not measured with the bundle"),
        (lambda d: d.pop("device"), 'the key "device" is missing'),
        (lambda d: d["device"].update(cpu=""), "device.cpu is wrong"),
        (lambda d: d["device"].update(runtime=True), "device.runtime must be text, not True"),
        (lambda d: d["device"].update(runtime="tvm"), "runtime differs from the bundle's"),
        (lambda d: d["device"].update(threads=2), "clock cpu, not wall"),
        (lambda d: d.pop("samples"), 'the key "samples" is missing'),
        (lambda d: d["samples"].popitem(), "incomplete (1 of 40 networks"),
        (lambda d: d.pop("created"), "incomplete (0 of 40 networks"),
        (lambda d: d.update(created="yesterday"), "damaged"),
        (lambda d: first(d).__delitem__(slice(2, None)), "must have 4 or more values"),
        (lambda d: first(d)[0].__setitem__(2, -1.0), "must be at least 1e-09, not -1.0"),
        (lambda d: first(d)[0][1].__setitem__(0, float("nan")), "must be a finite number, not nan"),
        (lambda d: first(d)[0][1].__setitem__(0, 1e-300), "must be at least 1e-09"),
        (lambda d: first(d)[0].pop(), "damaged"),
        (lambda d: d.pop("kernels"), 'the key "kernels" is missing'),
        (lambda d: kernels(d).update(graph="=="), "damaged"),
        (lambda d: kernels(d).update(graph="QUJD"), "a graph is truncated"),
        (lambda d: kernels(d).update(graph=base64.b64encode(zlib.compress(b"ABC")).decode()), "a graph is not ONNX"),
        (lambda d: kernels(d)["times"][0].pop(), "damaged"),
        (lambda d: kernels(d)["times"][0].__setitem__(4, float("inf")), "must be a finite number, not inf"),
        (lambda d: kernels(d)["times"][0].__setitem__(2, [[]]), "damaged"),
    ],
)
def test_damaged_or_foreign_results_get_one_message(nas, bundle, results, tmp_path, change, message):
    found = json.loads(results.read_text())
    change(found)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(found))
    code, out, err = nas("device", "import", path, "--bundle", bundle, "--device", "other")
    assert code == 2 and out == "" and message in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        ("torch_eager", 'runtime "torch_eager"; known: litert_cpu, litert_int8, onnxruntime_cpu'),
        ("litert", 'did you mean "litert_cpu"'),
        ("litert_cpu", "the runtime litert_cpu needs the package ai-edge-litert, which is not installed"),
    ],
)
def test_bundles_that_cannot_be_made(nas, tmp_path, runtime, message):
    if runtime == "litert_cpu" and find_spec("ai_edge_litert"):
        pytest.skip("the package is installed")
    code, _, err = nas("device", "bundle", "--runtime", runtime, "--space", "tiny", "--to", tmp_path / "bundle")
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


def test_files_that_are_none(nas, bundle, results, tmp_path):
    (tmp_path / "cut.json").write_text(results.read_text()[:1000])
    for path, folder, message in (
        (tmp_path / "none.json", bundle, "cannot read the results file"),
        (tmp_path / "cut.json", bundle, "not JSON"),
        (results, tmp_path, "cannot read the bundle's manifest"),
    ):
        code, _, err = nas("device", "import", path, "--bundle", folder)
        assert code == 2 and message in err and len(err.strip().splitlines()) == 1


def test_the_commands(nas, workshop, bundle, results, tmp_path):
    found = json.loads(results.read_text())
    found["device"]["cpu"] = "Cortex of another machine"
    (tmp_path / "results.json").write_text(json.dumps(found))
    code, out, _ = nas("device", "import", tmp_path / "results.json", "--bundle", bundle, "--device", "board")
    assert code == 0 and "board.json" in out
    try:
        assert load_profile("board", anywhere=True).device.cpu == "Cortex of another machine"
        code, out, _ = nas("device", "show", "board", "--plot", tmp_path / "plot.svg")
        assert code == 0 and "Cortex of another machine" in out and "0 days" in out
        assert (tmp_path / "plot.svg").read_text().count("<svg") == 1
        assert nas("device", "show", "board", "--plot", tmp_path / "plot.txt")[0] == 2
        code, _, err = nas("device", "check", "board")
        assert code == 2 and "its processor is Cortex of another machine" in err
        assert "board" in nas("device", "list")[1]
    finally:
        (workshop / "data" / "compact-nas" / "devices" / "board.json").unlink()
    code, _, err = nas("device", "measure", "--runtime", "onnxruntime_gpu", "--space", workshop / "small.yaml")
    assert code == 2 and 'no latency runtime "onnxruntime_gpu"' in err


def test_check_times_networks_of_the_profile_again(nas, monkeypatch):
    monkeypatch.setattr("nas.sessions.device._CHECK_S", 0.0)
    code, out, err = nas("device", "check")
    assert code in (0, 1) and err == "" and "median of 6 networks" in out


def test_verdicts():
    assert verdict([1.02, 0.99, 1.0], [0.01] * 3, 0.01, 1.0)[0]
    assert verdict([1.2, 1.25, 1.15], [0.05] * 3, 0.05, 1.0)[0], "within three times the noise"
    holds, why = verdict([1.3, 1.31, 1.29], [0.01] * 3, 0.01, 1.3)
    assert not holds and "whole machine" in why
    holds, why = verdict([0.7, 0.71, 0.69], [0.01] * 3, 0.01, 1.0)
    assert not holds and "Measure again" in why


def test_another_runtime_is_another_profile(space, own_folder):
    measured = measure_profile(space, seconds=0.0, fit=3, verify=2, runtime="torch_eager", threads=2)
    assert measured.device.runtime == "torch_eager" and measured.device.threads == 2
    assert measured.calibration(space).clock == "wall" and "torch-eager" in measured.name and "2t" in measured.name
    again = load_profile(str(Path(os.environ["XDG_DATA_HOME"]) / "compact-nas" / "devices" / f"{measured.name}.json"))
    assert again == measured
    with pytest.raises(InputError, match="not been measured yet"):
        load_profile("local")


def test_a_bundle_in_int8_is_measured_and_imported(space, tmp_path, own_folder):
    short, runtime = Effort(2, 1, 0.2), "onnxruntime_int8"
    folder = write_bundle(space, tmp_path / "int8", short, seed=0, progress=lambda *_: None, runtime=runtime)
    done = bench(folder, tmp_path / "results.json")
    assert done.returncode == 0, done.stderr
    imported = import_results(tmp_path / "results.json", folder)
    assert imported.device == local_device(runtime) and imported.device.dtype == "int8"
    for i, network in enumerate(imported.calibration(space).networks):
        here = int8_profile.kernel_times(folder / "networks" / f"{i:03d}.onnx", runs=1)
        assert Counter((k.kind, k.size) for k in here) == Counter((kind, size) for kind, size, _ in network.kernel_times)


def test_a_bundle_at_a_precision_that_its_runtime_has_not_is_refused(nas, tmp_path):
    code, _, err = nas("device", "bundle", "--space", "tiny", "--to", "b", "--runtime", "torch_eager", "--precision", "int8")
    assert code == 2 and "torch_eager does not run networks in int8; these do: litert_int8, onnxruntime_int8" in err
    assert not (tmp_path / "b").exists()
