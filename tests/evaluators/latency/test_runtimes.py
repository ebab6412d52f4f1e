"""Every runtime in the folder: one that is installed gives torch's logits, one that is not says what is missing."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.installed import installed_version
from evaluators.latency.runtime import answers_of, clock_of, load_runtime, quantiser_of, runtime_names
from evaluators.latency.timing.bench import PACKAGES, installed
from evaluators.latency.timing.measure import measure_file
from evaluators.quantisers import load_quantiser, quantiser_names
from nas.testing import check_runtime
from nas.testing.runtimes import GENOTYPE, TASK
from search_spaces.errors import InputError
from search_spaces.genotype import Genotype
from search_spaces.network import build

NEEDS = {
    "torch_cuda": "CUDA GPU",
    "onnxruntime_cuda": "onnxruntime-gpu|CUDA",
    "torch_compile": r"C\+\+ compiler",
    "openvino_cpu": r"pip install openvino, .*compact-nas\[openvino\]",
    "openvino_int8": r"pip install openvino, .*compact-nas\[openvino\]",
    "ncnn_cpu": "pip install (ncnn|pnnx)",
    "executorch_xnnpack": "pip install executorch",
    "litert_cpu": "pip install (ai-edge-litert|litert-torch)",
    "litert_int8": r"pip install (ai-edge-litert|litert-torch|litert-quantizer), .*compact-nas\[litert\]",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", runtime_names())
def test_is_what_measuring_needs_or_says_what_is_missing(name: str) -> None:
    try:
        check_runtime(name)
    except InputError as error:
        assert name in NEEDS
        pytest.skip(str(error))


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_what_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    from importlib import metadata

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=NEEDS[name]):
        load_runtime(name).version()


def test_one_thread_is_timed_by_the_calling_thread_s_clock() -> None:
    clocks = {name: (clock_of(load_runtime(name), 1), clock_of(load_runtime(name), 2)) for name in runtime_names()}
    for name, found in clocks.items():
        assert found == (("event", "event") if name.endswith("cuda") else ("cpu", "wall")), name


def test_torch_runs_with_its_own_number_of_threads(tmp_path: Path) -> None:
    code = load_runtime("torch_eager")
    path = tmp_path / "network.safetensors"
    code.prepare(build(GENOTYPE, TASK), TASK, path)
    before = torch.get_num_threads()
    assert measure_file(path, 0.0, "torch_eager").clock == "cpu"
    found = measure_file(path, 0.0, "torch_eager", threads=2)
    assert found.clock == "wall" and found.counted >= 4 and torch.get_num_threads() == before


def test_an_operator_that_ncnn_lacks_is_named(tmp_path: Path) -> None:
    code = load_runtime("ncnn_cpu")
    try:
        code.version()
    except InputError as error:
        pytest.skip(str(error))
    genotype = Genotype.parse("conv 24/2\ngrouped_shift\nhead")
    with pytest.raises(InputError, match=r"ncnn cannot run the network: .* for F\.pad"):
        code.prepare(build(genotype, TASK), TASK, tmp_path / "network.param")


def test_naming_runtimes_and_versions_imports_no_torch() -> None:
    code = """if True:
        import sys
        from evaluators.latency.runtime import load_runtime, runtime_names
        for name in runtime_names():
            load_runtime(name)
        load_runtime("torch_eager").version()
        print("torch" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_an_extra_is_named() -> None:
    with pytest.raises(InputError, match=r"tvm needs the package no-such-package.*compact-nas\[tvm\]"):
        installed_version("no-such-package", "tvm", "tvm")


def test_every_int8_runtime_names_its_quantiser() -> None:
    int8 = {name for name in runtime_names() if load_runtime(name).DTYPE == "int8"}
    assert int8 == {"litert_int8", "onnxruntime_int8", "openvino_int8"}
    nncf, litert = ({f"{runtime}_cpu", f"{runtime}_int8"} for runtime in ("openvino", "litert"))
    others = dict.fromkeys(nncf, "nncf") | dict.fromkeys(litert, "litert")
    assert {name: quantiser_of(name) for name in runtime_names()} == {n: others.get(n, "onnxruntime") for n in runtime_names()}
    for name in quantiser_names():
        assert quantiser_of(load_quantiser(name).RUNTIME) == name


def test_an_int8_runtime_without_a_quantiser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(load_runtime("openvino_int8"), "QUANTISER")
    with pytest.raises(InputError, match="openvino_int8 does not name the quantiser"):
        quantiser_of("openvino_cpu")


ANSWERING = [name for name in runtime_names() if hasattr(load_runtime(name), "answers")]


@pytest.mark.parametrize("name", ANSWERING)
def test_answers_are_the_same_from_any_thread(name: str, tmp_path: Path) -> None:
    try:
        load_runtime(name).version()
    except InputError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    path, images = tmp_path / f"network{load_runtime(name).SUFFIX}", torch.randn(40, 1, *TASK.input).numpy()
    load_runtime(name).prepare(build(GENOTYPE, TASK).eval(), TASK, path)
    alone, both = answers_of(name, path), answers_of(name, path, 2)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(both, images))
    for image, logits in zip(images, found, strict=True):
        assert logits.shape == (1, 10) and np.array_equal(logits, alone(image))


def test_a_runtime_that_only_times_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="torch_eager times networks, but does not tell"):
        answers_of("torch_eager", tmp_path / "network.safetensors")


def test_every_runtime_says_which_graph_it_runs() -> None:
    eager = {name for name in runtime_names() if load_runtime(name).GRAPH == "eager"}
    assert eager == {"torch_eager", "torch_cuda"}
    assert {load_runtime(name).GRAPH for name in runtime_names()} == {"eager", "fused", "quantised"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_bundle_and_a_profile_of_this_machine_state_the_same_version(name: str) -> None:
    try:
        here = load_runtime(name).version()
    except InputError as error:
        pytest.skip(str(error))
    assert installed(name) == here
