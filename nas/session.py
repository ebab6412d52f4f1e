"""`nas search`, `nas resume` and `nas export`: from flags to a run folder, through a search, to the report."""

import os
import re
import socket
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from evaluators.data.preprocess import Fit, Interpolation, per_channel
from evaluators.processors import processors
from evaluators.training.recipe import Metric
from nas import samplers
from nas.console import make_bar, make_console
from nas.promise import SPARE, Promise
from nas.reach import Predicted, Reach, survey
from nas.resuming import check_data, versions_changed
from nas.run import Config, Cost, Evaluator, Lock, Percentile, Run, create, donor_anchor, open_run
from nas.signals import Lost
from nas.standing import base_name
from nas.study import read_journal
from nas.teacher import find_teacher
from search_spaces.anchor import anchor
from search_spaces.errors import InputError, os_reason
from search_spaces.genotype import Genotype
from search_spaces.resources import expanded
from search_spaces.space import SearchSpace, load_space
from search_spaces.task import Input

if TYPE_CHECKING:
    from evaluators.data import Dataset
    from evaluators.inheritance.donor import Donor


def start(
    *,
    space_name: str,
    budget_ms: float,
    anchors: tuple[str, ...],
    data: str,
    device: str,
    trials: int,
    seconds: float | None,
    workers: int | None,
    address: str | None,
    seed: int,
    sampler: str,
    cost: Cost | None,
    final_seeds: int,
    baseline: bool,
    finalists: int,
    recipe: str | None,
    final_recipe: str | None,
    epochs: int | None,
    final_epochs: int | None,
    distill: str | None,
    weights: str | None,
    from_scratch: bool,
    fit: Fit,
    metric: Metric,
    rivals: int,
    run_path: Path | None,
    download: bool,
    confidence: float = 0.95,
    percentile: Percentile = 50,
    measure: bool = True,
    evaluator: Evaluator = "training",
    supernet_epochs: int = 20,
) -> None:
    """A new run, from its flags to its report."""
    from evaluators.training.recipe import load_recipe
    from nas.cli import default_run_folder

    console = make_console()
    donor = donor_for(weights, from_scratch, download)
    space = inheriting(load_space(space_name).with_anchors(anchors), donor)
    inherited = donor and evaluator != "supernet"  # weights that candidates share begin at random
    chosen = load_recipe(recipe or ("finetune" if inherited else "proxy"), epochs)
    final = load_recipe(final_recipe or ("finetune_final" if donor else "final"), final_epochs)
    if evaluator == "supernet":
        chosen = replace(chosen, epochs=1)  # a score is one epoch
    teacher = find_teacher(distill, space.overall_stride, space.input, space.padding) if distill else None
    samplers.check(sampler)
    if address:
        _check_address(address)
    path = run_path or default_run_folder(space.name, budget_ms)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already; `nas resume {path}` goes on with it, `--run` names another folder")
    known = _profile_for_search(device, space, measure)
    promise = Promise(budget_ms, percentile, confidence, measure)
    dataset = load_data(console, data, space.inputs, fit, donor.interpolation if donor else "bilinear", download)
    profile = known or measure_device(console, space, device)
    reach = _survey(console, space, len(dataset.classes), profile, promise)
    if teacher:
        teacher.check(space.task(len(dataset.classes)))
    mean, std = (donor.mean, donor.std) if donor else dataset.mean_std()
    config = Config(
        space=space.name,
        budget_ms=budget_ms,
        device=device,
        data=absolute(data),
        classes=list(dataset.classes),
        mean=list(per_channel(mean, space.input[0])),
        std=list(per_channel(std, space.input[0])),
        fit=fit,
        interpolation=dataset.interpolation,
        depth=dataset.depth,
        padding=space.padding,
        donor=donor.name if donor else None,
        metric=metric,
        trials=trials,
        seconds=seconds,
        finalists=finalists,
        rivals=rivals,
        seed=seed,
        sampler=sampler,
        cost=cost,
        final_seeds=final_seeds,
        baseline=baseline,
        workers=workers or (None if address else processors()),
        address=address,
        anchors=[name for name in space.anchors if name in {anchor(a).name for a in anchors}],
        recipe=chosen,
        final_recipe=final,
        distill=distill,
        confidence=confidence,
        percentile=percentile,
        measure=measure,
        evaluator=evaluator,
        supernet_epochs=supernet_epochs,
        fingerprint=dataset.fingerprint,
    )
    _work(console, create(path, config, space_text(space_name), profile, teacher, donor), dataset, reach)


def resume(path: Path, workers: int | None) -> None:
    """Goes on with a run from its journal, or with a training from its last epoch."""
    from nas import train

    if train.is_training(path):
        train.resume(path)
        return
    console = make_console()
    run = open_run(path)
    if run.config.address:
        _check_address(run.config.address)
    if workers:
        run = replace(run, config=replace(run.config, workers=workers))
    config = run.config
    read_journal(run.journal)  # which says what is wrong with it, before the data are read
    if changed := versions_changed(run.versions):
        console.print(changed, highlight=False)
    dataset = load_data(console, config.data, run.space().inputs, config.fit, config.interpolation, False)
    check_data(path, config.data, config.classes, config.fingerprint, dataset)
    _work(console, run, dataset)


def donor_for(weights: str | None, from_scratch: bool, download: bool) -> "Donor | None":
    """The donor that was asked for, or the one that is installed; none where all begins at random."""
    from evaluators.inheritance.find import find_donor

    if not from_scratch:
        return find_donor(weights, download=download)
    if weights:
        raise InputError("--weights and --from-scratch contradict each other; give one of them")
    return None


def inheriting(space: SearchSpace, donor: "Donor | None") -> SearchSpace:
    """A space whose networks inherit: they pad as the donor does, and it stands among the hand-designed ones."""
    if donor is None:
        return space
    return replace(space.with_anchors(donor_anchor(donor.name)), padding=donor.padding)


def export_run(path: Path, folder: Path | None, network: str | None) -> None:
    """Writes the deployment files of a run's best network, or of the one named by id or anchor."""
    from nas.result import result

    console = make_console()
    run = open_run(path)
    found = result(run)
    chosen = _choose(found, network)
    for file in _export(run, chosen, folder or run.path / "export"):
        console.print(str(file), highlight=False)


def export_pretrained(name: str, weights: Path, folder: Path | None) -> None:
    """Writes the deployment files of an anchor with the weights in a file of its own library."""
    from nas.export import export_network
    from search_spaces.weights import as_trained, read_tensors

    known = anchor(name)
    loaded = as_trained(known, read_tensors(weights), str(weights))
    for file in export_network(known, loaded, folder or Path(known.name.replace(":", "-"))):
        make_console().print(str(file), highlight=False)


def _profile_for_search(device: str, space: SearchSpace, measure: bool) -> Path | None:
    """`known_profile`, also of a device that is elsewhere when nothing is to be measured; else refused by the flag's name."""
    try:
        return known_profile(device, space, anywhere=not measure)
    except InputError as error:
        if measure and is_elsewhere(device):
            hint = "`--no-measure` searches by its predictions alone, and measures nothing"
            raise InputError(f"{error}; {hint}") from None
        raise


def is_elsewhere(device: str) -> bool:
    """Whether a device's profile can be read, but is not of this machine with its runtime as installed."""
    from evaluators.latency.profile import load_profile

    try:
        load_profile(device, anywhere=True)
    except InputError:
        return False
    try:
        load_profile(device)
    except InputError:
        return True
    return False


def known_profile(device: str, space: SearchSpace, anywhere: bool = False) -> Path | None:
    """The file of a device's profile; None when it is this machine's and does not cover the space yet.

    Raises InputError when there is no such device, or its profile is damaged or, unless `anywhere`, of another device
    than this machine.
    """
    from evaluators.latency.profile import LOCAL, list_profiles, load_profile, local_device
    from evaluators.latency.space_key import space_key

    if device == LOCAL and local_device().name not in {found.name for found in list_profiles()}:
        return None
    profile = load_profile(device, anywhere=anywhere)
    if space_key(space) not in profile.spaces and profile.device == local_device():
        return None
    profile.calibration(space)
    return _profile_file(device)


def measure_device(console: Console, space: SearchSpace, device: str) -> Path:
    """Measures this machine for a space with a progress bar; returns the profile's file."""
    from nas.devices import measured

    return measured(console, space, device, anew=False)


def predictor_of(profile: Path | str, space: SearchSpace, confidence: float = 0.95, anywhere: bool = False) -> Any:
    """The latency predictor of a device profile for a space; `anywhere`: the device need not be this machine."""
    from evaluators.latency.predictor import Predictor
    from evaluators.latency.profile import load_profile

    found = load_profile(str(profile), anywhere=anywhere)
    return Predictor(found, found.calibration(space), confidence)


def _profile_file(device: str) -> Path:
    from evaluators.latency.profile import LOCAL, list_profiles, local_device

    if device.endswith(".json"):
        return Path(device)
    name = local_device().name if device == LOCAL else device
    return next(found.path for found in list_profiles() if found.name == name)


def _work(console: Console, run: Run, dataset: Any, reach: Reach | None = None) -> None:
    from evaluators.inheritance.donor import load_donor
    from nas import report
    from nas.search import Search
    from nas.view import ConsoleView

    lock = Lock(run.path)
    try:
        console.print(f"Run folder: {run.path}", highlight=False)
        config = run.config
        predictor = predictor_of(run.device_profile, run.space(), config.confidence, anywhere=not config.measure)
        with ConsoleView(console) as view:
            kept = asdict(reach) if reach else None
            donor = load_donor(run.donor) if config.donor else None
            Search(run, dataset, predictor, _executor(run), view, reach=kept, scorer=_scorer(run), donor=donor).run()
        found = report.write(run)
        report.show(console, found)
        if found["best"]:
            _export(run, found["best"], run.path / "export")
            console.print(f"Ready to deploy: {run.path / 'export'}", highlight=False)
        elif run.config.measure:
            raise InputError("no network held the budget when it was measured; try a larger budget or more trials")
        else:
            raise InputError("no network could be trained whose predicted bound is in the budget; try more trials")
    except Lost as lost:
        raise InputError(f"{lost}; nothing is lost: nas resume {run.path}") from None
    except KeyboardInterrupt:
        report.write(run)
        console.print(f"Stopped. Nothing is lost: nas resume {run.path}", highlight=False)
        raise
    except OSError as error:
        raise InputError(f"{os_reason(error)}; what was learnt until now is kept, `nas resume {run.path}` goes on") from None
    finally:
        lock.release()


def _executor(run: Run) -> Any:
    def make(setting: Any) -> Any:
        if not run.config.address:
            # Ray's switch for platforms without clusters: this machine's Ray then listens on the loopback only
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        from nas.executors.ray_tune import RayTuneExecutor

        sentence = f"nothing is lost: nas resume {run.path}"
        return RayTuneExecutor(setting, run.config.workers, run.config.address, sentence)

    return make


def _scorer(run: Run) -> Any:
    """What scores candidates instead of training them, if that was asked for."""

    def make(setting: Any, view: Any) -> Any:
        from nas.executors.supernet import SupernetExecutor

        recipe = replace(run.config.recipe, epochs=run.config.supernet_epochs)
        return SupernetExecutor(setting, run.space(), recipe, run.config.seed, run.supernet, view)

    return make if run.config.evaluator == "supernet" else None


def _export(run: Run, chosen: dict[str, Any], folder: Path) -> list[Path]:
    from nas.export import export

    return export(run, chosen, folder)


def _choose(found: dict[str, Any], network: str | None) -> dict[str, Any]:
    if network is None:
        if not found["best"]:
            raise InputError(f"{found['run']} has no network to export yet; `nas resume` finishes it")
        return dict(found["best"])
    everything = found["finalists"] + found["anchors"]
    for entry in everything:
        if network in (entry["id"], entry["anchor"], base_name(entry["anchor"] or "")):
            return dict(entry)
    names = [e["anchor"] or e["id"] for e in everything]
    raise InputError(f'{found["run"]} has no retrained network "{network}"; it has {", ".join(names) or "none"}')


def _survey(console: Console, space: SearchSpace, classes: int, profile: Path, promise: Promise) -> Reach:
    """What the budget means in this space on this device for so many classes, printed; InputError when nothing can hold it."""
    from evaluators.latency.profile import load_profile

    predictor = predictor_of(profile, space, promise.confidence, anywhere=not promise.measured)
    task = space.task(classes)
    calibration = load_profile(str(profile), anywhere=True).calibration(space)
    promise = replace(promise, usual=calibration.contention)
    wider = promise.above_quiet(calibration.networks)

    def predict(genotypes: Sequence[Genotype]) -> list[Predicted | None]:
        return [p and Predicted(p.ms * wider, p.bound_ms * wider, p.reliable) for p in predictor.covered(genotypes, task)]

    spare = SPARE if promise.measured else 0.0
    reach = survey(space, predict, promise.budget_ms, space.reference_networks(), spare=spare)
    for line in filter(None, reach.lines()):
        console.print(line, highlight=False)
    console.print(
        f"Within {promise.budget_ms:g} ms is what takes {promise.allowed_ms:.4g} ms at most while the machine is as busy as it "
        f"usually is ({promise.usual:.0%} slower than at its quietest).",
        highlight=False,
    )
    return reach


def load_data(
    console: Console, data: str, inputs: Sequence[Input], fit: Fit, interpolation: Interpolation, download: bool
) -> "Dataset":
    """The data set, read with a progress bar; what it is made of is printed."""
    from evaluators.data import load

    with make_bar(console, transient=True) as bar:
        task = bar.add_task("reading images", total=None)
        dataset = load(
            data,
            inputs=inputs,
            fit=fit,
            interpolation=interpolation,
            download=download,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(f"Data: {dataset.source}", highlight=False)
    return dataset


def _check_address(address: str) -> None:
    """Raises InputError unless something at HOST:PORT greets as a head of Ray does: Ray itself would try for minutes."""
    match = re.fullmatch(r"(.+):([0-9]{1,5})", address)
    if not match or "/" in address:
        raise InputError(f'"{address}" is not HOST:PORT of a Ray cluster, such as 10.0.0.1:6379')
    try:
        with socket.create_connection((match[1], int(match[2])), timeout=5) as connection:
            greets = os.environ.get("RAY_USE_TLS") == "1" or _greets(connection)
        error = None if greets else "what listens there is no head of a Ray cluster"
    except (OSError, OverflowError, UnicodeError) as problem:
        error = str(problem)
    if error:
        hint = "`ray start --head` on that machine starts one and prints its address"
        raise InputError(f"no Ray cluster answers at {address} ({error}); {hint}")


def _greets(connection: socket.socket) -> bool:
    """Whether the other side opens an HTTP/2 connection, as gRPC does: its first frame is of type SETTINGS (RFC 9113, 3.4)."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    return connection.recv(9)[3:4] == b"\x04"


def space_text(name_or_path: str) -> str:
    path = Path(name_or_path)
    source = path if path.suffix in (".yaml", ".yml") else files("search_spaces.spaces") / f"{name_or_path}.yaml"
    return source.read_text(encoding="utf-8")


def absolute(data: str) -> str:
    """The data's spec with its path absolute, so that a run can be resumed from anywhere."""
    name, colon, path = data.partition(":")
    return f"{name}:{expanded(path).resolve()}" if colon else name
