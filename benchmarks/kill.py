"""Searches and trainings that are killed at random moments, then resumed: what they say, what is left, who wins.

usage: python benchmarks/kill.py FOLDER [--kills 100] [--seed 0] [--sigkill] [--measure]

Three works, each small: a search with one worker, one with two, and `nas train`. Each is first done undisturbed. Then, again
and again, one is begun anew, and at a moment drawn from its whole length one signal is sent: SIGKILL, SIGTERM or SIGINT to the
command, or the last two to all of its process group, as a terminal does; SIGKILL to Ray's raylet or gcs_server, to a worker
that trains, or to one that waits; with --sigkill only the SIGKILLs. It is resumed until it is over. A work is lost when it
cannot be resumed to the end of the undisturbed one. An end is wrong when a message or exit code is, or when a process still
runs ten seconds after its command. Every kill is a line of FOLDER/kills.jsonl; started anew, the script goes on there. Latency
is not measured, unless asked for, so that the machine may be busy.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from PIL import Image

SPACE = Path(__file__).resolve().parents[1] / "tests" / "data" / "small.yaml"
NETWORK = "input 3x16x16\nconv 16/1\ninverted_residual 24/2 expand=4\nhead\n"
GRACE_S, LIMIT_S = 10.0, 3600.0


@dataclass(frozen=True)
class Work:
    """A command without its folder, the flag that names this, and the seconds and winner of the undisturbed work."""

    name: str
    arguments: list[str]
    flag: str
    seconds: float = 0.0
    winner: str = ""


@dataclass(frozen=True)
class Kill:
    """What was done to which work when, how its command ended, and what was wrong with that, if anything."""

    work: str
    victim: str
    moment_s: float
    struck: bool
    code: int
    lost: str
    wrong: list[str]
    said: str


SIGNALS = {
    "head": "SIGKILL",
    "head, terminated": "SIGTERM",
    "head, Ctrl-C": "SIGINT",
    "group, terminated": "SIGTERM",
    "group, Ctrl-C": "SIGINT",
}
RAY = {
    "raylet": lambda words: words.endswith("/raylet"),
    "gcs_server": lambda words: words.endswith("/gcs_server"),
    "actor": lambda words: words.startswith(("ray::Worker", "ray::ResourceTrainable")),
    "idle worker": lambda words: words == "ray::IDLE",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sigkill", action="store_true", help="send no other signal than SIGKILL")
    parser.add_argument("--measure", action="store_true")
    asked = parser.parse_args()
    folder, log = asked.folder.resolve(), asked.folder.resolve() / "kills.jsonl"
    os.environ["XDG_DATA_HOME"] = str(folder / "data")
    prepare(folder)
    works = [undisturbed(work, folder) for work in works_in(folder, asked.measure)]
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    number, struck = len(done), sum(kill["struck"] for kill in done)
    signals = [victim for victim, name in SIGNALS.items() if name == "SIGKILL" or not asked.sigkill]
    while struck < asked.kills:
        rng = random.Random(f"{asked.seed}/{number}")
        work = works[number % len(works)]
        victim = rng.choice([*signals, *(RAY if work.flag == "--run" else [])])
        found = one_kill(work, victim, rng, folder / f"kill-{number}")
        with log.open("a") as out:
            out.write(json.dumps(asdict(found)) + "\n")
        wrong = "; ".join([*([f"LOST: {found.lost}"] if found.lost else []), *found.wrong])
        number, struck = number + 1, struck + found.struck
        count = f"{struck:>4}" if found.struck else "   -"
        print(f"{count}  {work.name:<22} {found.victim:<18} {found.moment_s:6.1f} s  {found.code:>4}  {wrong}", flush=True)
    sys.exit(table([Kill(**json.loads(line)) for line in log.read_text().splitlines()]))


def prepare(folder: Path) -> None:
    """Images, space, recipe and device profile, once."""
    if (folder / "recipe.yaml").is_file():
        return
    rng = np.random.default_rng(0)
    for name, region in (("left", np.s_[:, :8]), ("top", np.s_[:8]), ("middle", np.s_[4:-4, 4:-4])):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        for i in range(40):
            pixels = rng.integers(0, 120, (16, 16, 3))
            pixels[region] += 90
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"{i}.png")
    shutil.copyfile(SPACE, folder / "small.yaml")
    (folder / "network.txt").write_text(NETWORK)
    from evaluators.latency.device.measure_profile import measure_profile
    from search_spaces.space_file import load_space

    measure_profile(load_space(str(folder / "small.yaml")), seconds=6.0, fit=20, verify=20)
    final = yaml.safe_load((files("evaluators.training.recipes") / "final.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**final, "least_images": 300, "batch_size": 32}))


def works_in(folder: Path, measure: bool) -> list[Work]:
    recipe, data = str(folder / "recipe.yaml"), f"imagefolder:{folder / 'images'}"
    search = ["search", "--from-scratch", "--space", str(folder / "small.yaml"), "--data", data, "--latency-budget", "50ms"]
    search += ["--recipe", recipe, "--final-recipe", recipe, "--epochs", "2", "--final-epochs", "1"]
    search += ["--trials", "3", "--finalists", "1"]
    search += [] if measure else ["--no-measure"]
    train = ["train", str(folder / "network.txt"), "--from-scratch", "--data", data, "--recipe", recipe, "--epochs", "8"]
    return [
        Work("search, one worker", [*search, "--workers", "1"], "--run"),
        Work("search, two workers", [*search, "--workers", "2"], "--run"),
        Work("train", train, "--to"),
    ]


def undisturbed(work: Work, folder: Path) -> Work:
    """The work with how long it takes, and who wins; done once."""
    kept, run = folder / f"{work.name}.json", folder / f"whole {work.name}"
    if not kept.is_file():
        started = time.monotonic()
        subprocess.run([*command(work.arguments), work.flag, str(run)], check=True, stdout=subprocess.DEVNULL)
        kept.write_text(json.dumps({"seconds": time.monotonic() - started, "winner": winner(run)}))
    return Work(work.name, work.arguments, work.flag, **json.loads(kept.read_text()))


def winner(run: Path) -> str:
    """What a finished work comes to: genotype, accuracies and weights of the best, of a training its weights."""
    if (run / "weights.safetensors").is_file():
        return _checksum(run / "weights.safetensors")
    best = json.loads((run / "result.json").read_text())["best"]
    known = [best[key] for key in ("genotype", "validation_accuracy", "test_accuracy")]
    return json.dumps([*known, _checksum(run / "weights" / f"{best['id']}.safetensors")])


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def one_kill(work: Work, victim: str, rng: random.Random, run: Path) -> Kill:
    """Begins the work, sends its signal at a random moment, and resumes it to its end."""
    moment_s, family = rng.uniform(0, work.seconds), set[psutil.Process]()
    process = begin([*work.arguments, work.flag, str(run)])
    was_struck = wait(process, family, lambda passed: passed >= moment_s and struck(process, victim, family))
    wait(process, family, lambda _: False)
    out, err = process.communicate()
    wrong = complaints(work, victim, process.returncode, out, err, run) + left_running(family)
    lost = ""
    if not (run / "result.json").is_file() or not json.loads((run / "result.json").read_text()).get("finished", True):
        again = ["resume", str(run)] if run.is_dir() else [*work.arguments, work.flag, str(run)]
        done = subprocess.run(command(again), capture_output=True, text=True, timeout=LIMIT_S)
        lost = f"resume: exit code {done.returncode}: {done.stderr[-500:]}" if done.returncode else ""
    if not lost and winner(run) != work.winner:
        lost = "another winner"
    said = (out + err)[-2000:] if wrong or lost else ""
    return Kill(work.name, victim, round(moment_s, 2), was_struck, process.returncode, lost, wrong, said)


def command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "nas", *arguments]


def begin(arguments: list[str]) -> "subprocess.Popen[str]":
    """In a process group of its own, with Ctrl-C, which a shell in the background takes away."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        command(arguments),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **pipes,
    )


def wait(process: "subprocess.Popen[str]", family: set[psutil.Process], until: Callable[[float], bool]) -> bool:
    """Until the process ends, or what it waits for, and whether that came; all that it starts are added to the family."""
    started = time.monotonic()
    while process.poll() is None:
        if until(passed := time.monotonic() - started):
            return True
        try:
            family |= set(psutil.Process(process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            continue
        assert passed < LIMIT_S, "it hangs"
        time.sleep(0.05)
    return False


def struck(process: "subprocess.Popen[str]", victim: str, family: set[psutil.Process]) -> bool:
    """Sends the signal, if the victim is there; only to the process and what it has started."""
    if victim in SIGNALS:
        number = getattr(signal, SIGNALS[victim])
        os.killpg(process.pid, number) if victim.startswith("group") else process.send_signal(number)
        return True
    for child in family:
        try:
            if RAY[victim]((child.cmdline() or [""])[0]):
                child.kill()
                return True
        except psutil.Error:
            continue
    return False


def complaints(work: Work, victim: str, code: int, out: str, err: str, run: Path) -> list[str]:
    """What is wrong with how a command ended."""
    expected = {
        "head": {-signal.SIGKILL},
        "head, terminated": {128 + signal.SIGTERM, -signal.SIGTERM},  # the latter before Python has begun, or at its very end
        "head, Ctrl-C": {128 + signal.SIGINT, -signal.SIGINT},
        "group, terminated": {128 + signal.SIGTERM, -signal.SIGTERM},
        "group, Ctrl-C": {128 + signal.SIGINT, -signal.SIGINT},
        "raylet": {2},
        "gcs_server": {2},
    }.get(victim, set()) | {0}
    wrong = [] if code in expected else [f"exit code {code}"]
    if victim in ("raylet", "gcs_server") and code and f"nas resume {run}" not in err:
        wrong.append("the message has no command to go on")
    if code > 128 and (run / "journal.log").is_file() and f"nas resume {run}" not in out:
        wrong.append("it was not said how to go on")
    lines = err.strip().splitlines()
    if (code not in (0, -signal.SIGKILL) and len(lines) > 1) or "Traceback" in err:
        wrong.append(f"{len(lines)} lines on standard error")
    return wrong


def left_running(family: set[psutil.Process]) -> list[str]:
    _, alive = psutil.wait_procs(family, timeout=GRACE_S)
    names: Counter[str] = Counter()
    for process in alive:
        try:
            names[process.name()] += process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
    return [f"still running: {dict(+names)}"] if +names else []


def table(kills: list[Kill]) -> int:
    """Prints how many works of each kind were lost, and how many ended wrong; 1 if any did.

    A work that was over before its moment, or had no such victim any more, was not struck; it counts only where it ended wrong.
    """
    print(f"{'work':<22} {'victim':<18} kills  lost  wrong")
    kills = [kill for kill in kills if kill.struck or kill.lost or kill.wrong]
    for (work, victim), count in sorted(Counter((kill.work, kill.victim) for kill in kills).items()):
        mine = [kill for kill in kills if (kill.work, kill.victim) == (work, victim)]
        print(f"{work:<22} {victim:<18} {count:>5} {sum(map(_is_lost, mine)):>5} {sum(bool(k.wrong) for k in mine):>6}")
    lost, wrong = sum(map(_is_lost, kills)), sum(bool(kill.wrong) for kill in kills)
    print(f"{len(kills)} kills, {lost} lost, {wrong} ended wrong")
    return int(lost + wrong > 0)


def _is_lost(kill: Kill) -> bool:
    return bool(kill.lost)


if __name__ == "__main__":
    main()
