"""A small space, images that can be told apart, and a device profile measured for the space; made once a session."""

import json
import os
import shutil
import sys
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from killed import alone_here
from PIL import Image

SPACE = (Path(__file__).parents[1] / "data" / "small.yaml").read_text()


def write_images(folder: Path, per_class: int = 60, size: int = 16) -> Path:
    """Three classes of noisy images: bright left, bright top, bright middle."""
    rng = np.random.default_rng(0)
    for name, region in (("left", np.s_[:, : size // 2]), ("top", np.s_[: size // 2]), ("middle", np.s_[4:-4, 4:-4])):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 120, (size, size, 3))
            pixels[region] += 90
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


MODES = ["RGB", "L", "RGBA", "P", "I;16", "CMYK"]


def write_photos(folder: Path, counts: tuple[int, ...] = (36, 24, 12)) -> Path:
    """Photos of bright and dark stripes, upright, lying or crossed, of `counts` for each class."""
    rng, number = np.random.default_rng(0), 0
    for name, count in zip(("crossed", "lying", "upright"), counts, strict=True):
        (folder / name).mkdir(parents=True)
        for _ in range(count):
            width, height = rng.integers(18, 70, 2)
            rows, columns = (np.indices((height, width)) * 8 // np.array([height, width])[:, None, None]) % 2
            stripes = {"crossed": rows ^ columns, "lying": rows, "upright": columns}[name][..., None]
            pixels = (stripes * 120 + rng.integers(0, 100, (height, width, 3))).astype(np.uint8)
            _save(folder / name / f"{number}", pixels, MODES[number % len(MODES)], 1 + number % 8)
            number += 1
    return folder


def _save(file: Path, pixels: np.ndarray, mode: str, orientation: int) -> None:
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode == "RGBA":
        image.putalpha(Image.fromarray(pixels[..., 1]))
    else:
        image = image.convert(mode)
    image.save(file.with_suffix(".jpg" if mode in ("RGB", "CMYK") else ".png"), exif=exif)


@pytest.fixture(scope="session")
def small_space():
    """The text of small.yaml."""
    return SPACE


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, measured):
    """A folder with small.yaml, images/ and the environment in which this machine is measured for the space."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "small.yaml").write_text(SPACE)
    write_images(folder / "images")
    final = yaml.safe_load((files("evaluators.training.recipes") / "final.yaml").read_text())
    (folder / "quick.yaml").write_text(yaml.safe_dump({**final, "least_images": 300, "batch_size": 16}))
    os.environ["XDG_DATA_HOME"] = str(folder / "data")
    measured(folder / "small.yaml")
    return folder


@pytest.fixture(scope="session")
def two_inputs(workshop, measured):
    """two.yaml in the workshop: the small space at inputs of 16 and 24 pixels, for which this machine is measured."""
    path = workshop / "two.yaml"
    path.write_text(SPACE.replace("input: [3, 16, 16]", "input: {channels: 3, size: [16, 24]}"))
    measured(path)
    return path


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """Measures this machine for the space in a file, once for all processes of the tests; its profile is saved in each."""
    from evaluators.latency.device.locks import locked
    from evaluators.latency.device.measure_profile import measure_profile
    from evaluators.latency.device.profile_files import load_profile, save_profile
    from search_spaces.space_file import load_space

    ours = tmp_path_factory.getbasetemp()
    common = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours

    def measure(path):
        kept = common / f"measured-{path.stem}"
        with locked(kept.with_suffix(".lock")):
            if kept.is_dir():
                [file] = kept.iterdir()
                save_profile(load_profile(str(file)))
            else:
                profile = measure_profile(load_space(str(path)), seconds=6.0, fit=20, verify=20)
                kept.mkdir()
                shutil.copy(save_profile(profile), kept)

    return measure


@pytest.fixture(scope="session")
def donor_folder(workshop):
    """The folder of a small network that `nas train` trained at 24x24 on the workshop's images, for three classes."""
    from nas.progress import Silent
    from nas.sessions.train import start
    from nas.training.config import TrainConfig

    genotype, folder = workshop / "donor.txt", workshop / "donor"
    genotype.write_text("input 3x24x24\nconv 16/1\ninverted_residual 24/2 expand=4\ninverted_residual 24/1 expand=2\nhead\n")
    data, recipe = f"imagefolder:{workshop / 'images'}", str(workshop / "quick.yaml")
    start(TrainConfig(network=str(genotype), data=data, recipe=recipe, epochs=2, from_scratch=True), folder, Silent())
    return folder


@pytest.fixture(scope="session")
def photos(workshop):
    """A folder of photos of many sizes, modes and EXIF orientations, whose three classes differ in number."""
    return write_photos(workshop / "photos")


@pytest.fixture
def small_search(workshop):
    """The arguments of a search that takes seconds, from scratch."""
    return [
        *("search", "--from-scratch"),
        *("--space", workshop / "small.yaml", "--data", f"imagefolder:{workshop / 'images'}"),
        *("--recipe", workshop / "quick.yaml", "--final-recipe", workshop / "quick.yaml"),
        *("--latency-budget", "50ms", "--trials", 3, "--epochs", 2, "--final-epochs", 2, "--finalists", 1),
    ]


@pytest.fixture
def quick_search(small_search):
    """The same without Ray, whose start and end take longer than the trainings."""
    return [*small_search, "--workers", 0]


@pytest.fixture
def made_run(workshop, small_space, tmp_path):
    """Makes a run folder as `nas search` does, before anything was trained; a teacher, a donor and settings can be given."""
    from evaluators.training.recipe import load_recipe
    from nas.run.config import Resolved, SearchConfig
    from nas.run.folder import create

    [profile] = (workshop / "data" / "compact-nas" / "devices").glob("*.json")

    def make(teacher=None, kept=None, text=small_space, **settings):
        asked = {
            "latency_budget_ms": 50.0,
            "space": "small",
            "data": f"imagefolder:{workshop / 'images'}",
            "rivals": 3,
            "trials": 2,
            "finalists": 1,
            "final_seeds": 2,
            "sampler": "tpe",
        }
        resolved = {
            "space": "small",
            "classes": ["left", "middle", "top"],
            "mean": [0.5] * 3,
            "std": [0.25] * 3,
            "interpolation": "bilinear",
            "padding": kept.padding if kept else "symmetric",
            "donor": kept.name if kept else None,
            "workers": 1,
            "anchors": [],
            "recipe": load_recipe("proxy"),
            "final_recipe": load_recipe("final"),
        }
        names = {field.name for field in fields(SearchConfig)} - resolved.keys()
        asked |= {name: value for name, value in settings.items() if name in names}
        resolved |= {name: value for name, value in settings.items() if name not in names}
        config = SearchConfig(**asked)
        run = create(tmp_path / "run", config, Resolved(**resolved), text, profile, teacher=teacher, donor=kept)
        _as_if_measured_for(run)
        return run

    return make


def _as_if_measured_for(run):
    """Gives what was measured for the small space out for the run's own, whatever it is."""
    from evaluators.latency.device.space_key import space_key

    profile = json.loads(run.device_profile.read_text())
    small = next(known for known in profile["spaces"].values() if known["space"] == "small")
    run.device_profile.write_text(json.dumps(profile | {"spaces": {space_key(run.space()): small}}))


@pytest.fixture
def nas_here(workshop, nas_anywhere, monkeypatch):
    """Runs `nas ARGUMENTS` as `nas_anywhere` does, where the device is measured for the workshop's space."""
    monkeypatch.setenv("XDG_DATA_HOME", str(workshop / "data"))
    return nas_anywhere


@pytest.fixture
def nas_anywhere(tmp_path, monkeypatch, capsys):
    """Runs `nas ARGUMENTS` in this process; returns (exit code, standard output, standard error)."""
    from nas.commands.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        code = 0
        try:
            with alone_here():
                main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
