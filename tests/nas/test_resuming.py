"""What goes on must find its data set as it was, and says which versions are others."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evaluators.data import Dataset, Split, load
from evaluators.training.loop import Training
from evaluators.training.recipe import load_recipe
from nas.run import resuming
from nas.run.resuming import DECISIVE, check_data, versions_changed
from nas.run.versions import versions
from search_spaces.errors import InputError


@pytest.fixture
def images(workshop, tmp_path):
    """A copy of the workshop's images, which may be changed."""
    shutil.copytree(workshop / "images", tmp_path / "images")
    return tmp_path / "images"


def _another(file):
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(file)


def _new_class(folder):
    shutil.copytree(folder / "top", folder / "[b]ottom")


CHANGES = {
    "other images under new names": (
        lambda f: [p.rename(p.with_name(f"x{p.name}")) for p in f.glob("*/*.png")],
        "file names or sizes differ",
    ),
    "an image in another's place": (
        lambda f: Image.new("RGB", (16, 16)).save(f / "top" / "3.png"),
        "file names or sizes differ",
    ),
    "more images": (lambda f: [_another(f / "top" / f"new{i}.png") for i in range(10)], "training images before"),
    "fewer images": (lambda f: [(f / "top" / f"{i}.png").unlink() for i in range(10)], "training images before"),
    "a class more": (_new_class, r"3 classes before, 4 now (new [b]ottom)"),
    "a class less": (lambda f: shutil.rmtree(f / "left"), "3 classes before, 2 now (missing left)"),
    "a class renamed": (lambda f: (f / "left").rename(f / "zebra"), "(new zebra; missing left)"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_search_does_not_go_on_with_other_data(made_run, nas_here, images, kind):
    data = f"imagefolder:{images}"
    known = load(data, inputs=[(3, 16, 16)])
    run = made_run(data=data, classes=list(known.classes), fingerprint=known.fingerprint)
    change, said = CHANGES[kind]
    change(images)
    before = run.journal.read_bytes()
    code, _, err = nas_here("resume", run.path)
    assert code == 2 and said in err and f"is not the data set that {run.path} started with" in err and err.count("\n") == 1
    assert run.journal.read_bytes() == before


def test_a_training_does_not_go_on_with_other_data(workshop, nas_here, images, tmp_path, monkeypatch):
    (tmp_path / "net.txt").write_text("input 3x16x16\nconv 8/1 act=relu\nhead\n")
    with monkeypatch.context() as stopped:
        stopped.setattr(Training, "epoch", _interrupt)
        asked = ["train", "net.txt", "--from-scratch", "--data", f"imagefolder:{images}", "--to", "out"]
        assert nas_here(*asked, "--recipe", workshop / "quick.yaml", "--epochs", 1)[0] == 130
    (images / "top" / "3.png").unlink()
    code, _, err = nas_here("resume", "out")
    assert code == 2 and "is not the data set that out started with" in err and not (tmp_path / "out" / "export").exists()
    shutil.copy(workshop / "images" / "top" / "3.png", images / "top" / "3.png")
    code, out, _ = nas_here("resume", "out")
    assert code == 0 and "Ready to deploy" in out and "versions" not in out
    trained = (tmp_path / "out" / "weights.safetensors").read_bytes()
    (tmp_path / "out" / "weights.safetensors").unlink()
    assert nas_here("resume", "out")[0] == 0, "what was lost is trained again"
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == trained


def _interrupt(self):
    raise KeyboardInterrupt


def _dataset(classes, fingerprint):
    split = Split(np.zeros((1, 3, 8, 8), np.uint8), np.zeros(1, np.int64))
    return Dataset("made", ((3, 8, 8),), tuple(classes), split, split, split, "made", fingerprint=fingerprint)


SETS = st.builds(
    lambda classes, train, test, sha: (
        classes,
        {"classes": len(classes), "train": train, "validation": 1, "test": test, "sha256": sha},
    ),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from(["0a", "0b"]),
)


@given(SETS, SETS)
def test_only_the_very_same_data_set_passes(before, now):
    try:
        check_data("run", "made", before[0], before[1], _dataset(*now))
    except InputError as error:
        assert before != now and "\n" not in str(error)
    else:
        assert before == now


@pytest.mark.parametrize("name", DECISIVE)
def test_versions_that_change_results_are_named(name):
    assert versions_changed(versions()) is None
    said = versions_changed(versions() | {name: "0.0.1", "ray": "0.0.1"})
    assert said and f"{name} 0.0.1 before, {versions()[name]} now" in said and "ray" not in said


def test_a_search_that_goes_on_says_the_versions(made_run, nas_here, monkeypatch):
    run = made_run(data="no-such-data")
    monkeypatch.setattr(resuming, "versions", lambda: versions() | {"torch": "99[/b]"})
    code, out, _ = nas_here("resume", run.path)
    assert code == 2 and f"torch {versions()['torch']} before, 99[/b] now" in out


@pytest.mark.slow
def test_the_search_of_a_cluster_that_is_gone_is_finished_in_this_process(made_run, nas_here):
    quick = replace(load_recipe("proxy", epochs=1), least_images=60)
    few = {"trials": 1, "rivals": 1, "final_seeds": 1, "recipe": quick, "final_recipe": quick}
    run = made_run(address="127.0.0.1:1", measure=False, **few)
    code, _, err = nas_here("resume", run.path)
    assert code == 2 and "no Ray cluster answers at 127.0.0.1:1" in err
    code, _, err = nas_here("resume", run.path, "--workers", 0)
    assert (code, err) == (0, "") and (run.path / "export" / "model.onnx").is_file()
