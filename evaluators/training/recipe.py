"""Recipe: one way of training a network."""

from dataclasses import dataclass, fields, replace
from typing import Any

from search_spaces import resources
from search_spaces.errors import InputError, near_miss

_FOLDER = "evaluators.training.recipes"
_LEAST = {"epochs": 1, "batch_size": 2}  # of all others 0
_MOST = {
    "share": 1,
    "label_smoothing": 1,
    "cutout": 1,
    "crop_scale": 1,
    "colour": 1,
    "randaugment_magnitude": 30,
    "ema": 0.99999,
}


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum; learning rate linear over the first `warmup` share of steps, then cosine to zero.

    `share` is the share of the training pictures, of each class, that is trained on. An epoch shows at least
    `least_pictures`: a smaller set is shown again and again. `learning_rate` is per batch of 128 pictures and scales
    linearly with `batch_size`; weight decay acts on weights of convolutions and linear layers only. Of the pictures,
    `crop_padding` is the share of the side that a random crop may move by; `crop_scale`, above 0, makes it a random resized
    crop instead, of that share of the area at least; `colour` is how far brightness, contrast and saturation may go from 1,
    `cutout` the side of a square that is left out as
    a share of theirs, `mixup` its alpha, `randaugment_ops` how many operations at `randaugment_magnitude` (0 to 30) each
    picture gets. `ema` is the decay per step of averaged weights, which are those that are evaluated and kept. 0 is off.
    `mixed_precision` computes parts in less than float32 where that is faster (evaluators.training.precision).
    """

    epochs: int
    share: float
    least_pictures: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    warmup: float
    label_smoothing: float
    crop_padding: float
    crop_scale: float
    colour: float
    flip: bool
    cutout: float
    mixup: float
    randaugment_ops: int
    randaugment_magnitude: int
    ema: float
    mixed_precision: bool

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < _LEAST.get(name, 0):
                raise InputError(f"{name} must be at least {_LEAST.get(name, 0)}, not {value}")
            if name in _MOST and value > _MOST[name]:
                raise InputError(f"{name} must be at most {_MOST[name]}, not {value}")
        if self.share == 0:
            raise InputError("share must be above 0")


def load_recipe(name_or_path: str, epochs: int | None = None) -> Recipe:
    """The recipe called `name`, or in a YAML file; `epochs` overrides its own. Raises InputError naming the file and key."""
    source, data = resources.read(_FOLDER, "recipe", name_or_path)
    found = recipe_of(data, source)
    return replace(found, epochs=epochs) if epochs else found


def recipe_of(data: dict[str, Any], source: str) -> Recipe:
    """The recipe in a mapping; raises InputError for missing, unknown or mistyped keys."""
    known = {f.name: f.type for f in fields(Recipe)}
    for key in data:
        if key not in known:
            raise InputError(f'{source}: unknown key "{key}"{near_miss(str(key), known)}')
    for name, kind in known.items():
        if name not in data:
            raise InputError(f'{source}: the key "{name}" is missing')
        allowed = {int: (int,), float: (int, float), bool: (bool,)}[kind]  # type: ignore[index]
        if type(data[name]) not in allowed:
            raise InputError(f"{source}: {name} must be {kind.__name__}, not {data[name]!r}")  # type: ignore[union-attr]
    try:
        return Recipe(**data)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
