"""`nas search`, `nas resume` and `nas export`: from flags to a run folder, through a search, to the report."""

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from nas.console import make_console
from nas.run import Config, Lock, Run, create, open_run
from search_spaces.anchor import anchor
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace, load_space


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
    finalists: int,
    recipe: str,
    epochs: int | None,
    final_epochs: int | None,
    train_size: int | None,
    run_path: Path | None,
    download: bool,
) -> None:
    """A new run, from its flags to its report."""
    from evaluators.training.recipe import load_recipe
    from nas.cli import default_run_folder

    console = make_console()
    space, chosen = load_space(space_name).with_anchors(anchors), load_recipe(recipe)
    chosen = replace(chosen, epochs=epochs or chosen.epochs, final_epochs=final_epochs or chosen.final_epochs)
    _check_sampler(sampler)
    path = run_path or default_run_folder(space.name, budget_ms)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already; `nas resume {path}` goes on with it, `--run` names another folder")
    profile = known_profile(device, space.name)
    if profile:
        _check_budget(space, profile, budget_ms)
    dataset = _load(console, data, train_size, max(space.input[1:]), download)
    if not profile:
        profile = measure_device(console, space, device)
        _check_budget(space, profile, budget_ms)
    config = Config(
        space=space.name,
        budget_ms=budget_ms,
        device=device,
        data=_absolute(data),
        classes=list(dataset.classes),
        mean=list(dataset.mean_std()[0]),
        std=list(dataset.mean_std()[1]),
        train_size=dataset.size,
        trials=trials,
        seconds=seconds,
        finalists=finalists,
        seed=seed,
        sampler=sampler,
        workers=workers or _cpus(),
        address=address,
        anchors=[name for name in space.anchors if name in {anchor(a).name for a in anchors}],
        recipe=chosen,
    )
    _work(console, create(path, config, _space_text(space_name), profile), dataset)


def resume(path: Path, workers: int | None) -> None:
    """Goes on with a run from its journal."""
    console = make_console()
    run = open_run(path)
    if workers:
        run = replace(run, config=replace(run.config, workers=workers))
    space = run.space()
    dataset = _load(console, run.config.data, run.config.train_size, max(space.input[1:]), False)
    _work(console, run, dataset)


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
    from search_spaces.weights import load_pretrained

    known = anchor(name)
    network = load_pretrained(known, weights)
    for file in export_network(known, network, folder or Path(known.name.replace(":", "-"))):
        make_console().print(str(file), highlight=False)


def known_profile(device: str, space: str) -> Path | None:
    """The file of a device's profile; None when it is this machine's and does not cover the space yet.

    Raises InputError when there is no such device, or its profile is damaged or of another device than this machine.
    """
    from evaluators.latency.profile import LOCAL, list_profiles, load_profile, local_device

    if device == LOCAL and local_device().name not in {found.name for found in list_profiles()}:
        return None
    profile = load_profile(device)
    if space not in profile.spaces and profile.device == local_device():
        return None
    profile.calibration(space)
    return _profile_file(device)


def measure_device(console: Console, space: SearchSpace, device: str) -> Path:
    """Measures this machine for a space with a progress bar; returns the profile's file."""
    from evaluators.latency.profile import measure_profile

    console.print(f'Measuring this machine for the space "{space.name}" (a couple of minutes); it is done once and kept.')
    with Progress(*Progress.get_default_columns(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("measuring", total=1.0)
        profile = measure_profile(space, lambda share, what: bar.update(task, completed=share, description=what), name=device)
    path = _profile_file(profile.name)
    _show_quality(console, path, space)
    return path


def predictor_of(profile: Path | str, space_name: str) -> Any:
    """The latency predictor of a device profile for a space."""
    from evaluators.latency.predictor import Predictor
    from evaluators.latency.profile import load_profile

    return Predictor(load_profile(str(profile)), space_name)


def _profile_file(device: str) -> Path:
    from evaluators.latency.profile import LOCAL, list_profiles, local_device

    if device.endswith(".json"):
        return Path(device)
    name = local_device().name if device == LOCAL else device
    return next(found.path for found in list_profiles() if found.name == name)


def _work(console: Console, run: Run, dataset: Any) -> None:
    from nas import report
    from nas.search import Search
    from nas.view import ConsoleView

    lock = Lock(run)
    try:
        console.print(f"Run folder: {run.path}", highlight=False)
        with ConsoleView(console) as view:
            search = Search(run, dataset, predictor_of(run.device_profile, run.config.space), _executor(run), view)
            search.run()
        found = report.write(run)
        if found["best"]:
            _export(run, found["best"], run.path / "export")
        report.show(console, found)
        if found["best"]:
            console.print(f"Ready to deploy: {run.path / 'export'}", highlight=False)
        else:
            raise InputError("no network held the budget when it was measured; try a larger budget or more trials")
    except KeyboardInterrupt:
        report.write(run)
        console.print(f"Stopped. Nothing is lost: nas resume {run.path}", highlight=False)
        raise
    finally:
        lock.release()


def _executor(run: Run) -> Any:
    def make(setting: Any) -> Any:
        if not run.config.address:
            # Ray's switch for platforms without clusters: this machine's Ray then listens on the loopback only
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        from nas.executors.ray_tune import RayTuneExecutor

        return RayTuneExecutor(setting, run.config.workers, run.config.address)

    return make


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
        if network in (entry["id"], entry["anchor"]):
            return dict(entry)
    names = [e["anchor"] or e["id"] for e in everything]
    raise InputError(f'{found["run"]} has no retrained network "{network}"; it has {", ".join(names) or "none"}')


def _check_budget(space: SearchSpace, profile: Path, budget_ms: float) -> None:
    from evaluators.cost import cost
    from nas.reach import check_budget
    from nas.study import Estimate

    predictor, task = predictor_of(profile, space.name), space.task(10)

    def estimate(genotype: Any) -> Estimate:
        prediction, figures = predictor.predict(genotype, task), cost(genotype, task)
        return Estimate(prediction.ms, prediction.bound_ms, figures.params, figures.macs)

    check_budget(space, estimate, budget_ms)


def _load(console: Console, data: str, size: int | None, largest: int, download: bool) -> Any:
    from evaluators.data import load

    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("reading pictures", total=None)
        dataset = load(
            data,
            size=size,
            largest=largest,
            download=download,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(f"Data: {dataset.source}", highlight=False)
    return dataset


def _show_quality(console: Console, profile: Path, space: SearchSpace) -> None:
    quality = predictor_of(profile, space.name).quality
    console.print(
        f"Device profile: {profile}\nOn {quality['n']:.0f} networks it was not fitted to, predictions are off by "
        f"{quality['rmspe']:.1%} (root mean square); {quality['within_10']:.0%} within 10 %. "
        f"The upper bound is {quality['factor']:.2f} times the prediction.",
        highlight=False,
    )


def _check_sampler(name: str) -> None:
    from nas.study import SAMPLERS
    from search_spaces.errors import near_miss

    if name not in SAMPLERS:
        raise InputError(f'there is no sampler "{name}"{near_miss(name, SAMPLERS)}')


def _space_text(name_or_path: str) -> str:
    path = Path(name_or_path)
    source = path if path.suffix in (".yaml", ".yml") else files("search_spaces.spaces") / f"{name_or_path}.yaml"
    return source.read_text(encoding="utf-8")


def _absolute(data: str) -> str:
    """The data's spec with its path absolute, so that a run can be resumed from anywhere."""
    name, colon, path = data.partition(":")
    return f"{name}:{Path(path).expanduser().resolve()}" if colon else name


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
