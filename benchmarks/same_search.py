"""Whether a change of the code leaves searches as they were: four small ones are recorded, and done again by what is there now.

usage: python benchmarks/same_search.py record FOLDER     with the code before the change
       python benchmarks/same_search.py compare FOLDER    with the code after it

Inherited weights, from scratch, a supernet, two objectives: each with one worker, one seed, and a device profile that is
measured once. Every proposal (genotype, outcome, accuracies) and the winner must be the same;
latency is not measured anew (`--no-measure`). On one machine this is exact; between machines rounding may differ.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SPACE = Path(__file__).resolve().parents[1] / "tests" / "data" / "small.yaml"
MOBILE = shlex.split("--space mobile --trials 3 --rivals 1 --epochs 1 --final-epochs 1 --latency-budget 3ms --finalists 1")
SMALL = shlex.split("--space small.yaml --from-scratch --trials 6 --final-epochs 2 --latency-budget 50ms")
SEARCHES = {
    "inherited": MOBILE,
    "scratch": [*SMALL, "--epochs", "2"],
    "supernet": [*SMALL, "--evaluator", "supernet", "--supernet-epochs", "2"],
    "objectives": [*SMALL, "--epochs", "2", "--objectives", "accuracy,latency", "--sampler", "nsga2"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    prepare(folder)
    different = []
    for name in SEARCHES:
        found, file = searched(folder, name, asked.what), folder / f"{name}.json"
        if asked.what == "record":
            file.write_text(json.dumps(found, indent=1))
        elif found != json.loads(file.read_text()):
            different.append(name)
            (folder / f"{name}.now.json").write_text(json.dumps(found, indent=1))
        print(f"{name}: {len(found['trials'])} trials{', DIFFERENT' if name in different else ''}", flush=True)
    sys.exit(1 if different else 0)


def prepare(folder: Path) -> None:
    """Images, whose classes differ in where they are bright, and the small space; once."""
    if (folder / "small.yaml").is_file():
        return
    rng = np.random.default_rng(0)
    for name, region in (("left", np.s_[:, :8]), ("top", np.s_[:8]), ("middle", np.s_[4:-4, 4:-4])):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        for i in range(60):
            pixels = rng.integers(0, 120, (16, 16, 3))
            pixels[region] += 90
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"{i}.png")
    shutil.copyfile(SPACE, folder / "small.yaml")


def searched(folder: Path, name: str, what: str) -> dict[str, Any]:
    """Every trial of a search, and its winner."""
    run = folder / f"run-{name}-{what}"
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "nas", "search", "--data", "imagefolder:images", "--workers", "1", "--no-measure"]
    environment = os.environ | {"XDG_DATA_HOME": str(folder / "data")}
    subprocess.run(
        [*command, *SEARCHES[name], "--run", str(run)], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    best = json.loads((run / "result.json").read_text())["best"]
    return {
        "trials": trials(run / "journal.log"),
        "winner": [best["genotype"], best["validation_accuracy"], best["test_accuracy"]],
    }


def trials(journal: Path) -> list[list[Any]]:
    """(genotype, origin, outcome, accuracies by epoch) of each, read with Optuna alone."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name="nas", storage=JournalStorage(JournalFileBackend(str(journal))))
    return [
        [
            *(t.user_attrs.get(key) for key in ("genotype", "origin", "outcome")),
            sorted(map(list, t.intermediate_values.items())),
        ]
        for t in study.get_trials(deepcopy=False)
    ]


if __name__ == "__main__":
    main()
