"""Recipe: one way of training a network."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin

from search_spaces import resources
from search_spaces.errors import InputError, near_miss

Metric = Literal["top1", "balanced_accuracy", "macro_f1"]  # by which accuracies are told (evaluators.training.metrics)
_FOLDER = "evaluators.training.recipes"
_LEAST = {"epochs": 1, "batch_size": 2}  # of all others 0
_MOST = {
    "share": 1,
    "momentum": 0.99999,
    "layer_decay": 1,
    "label_smoothing": 1,
    "crop_scale": 1,
    "cutout": 1,
    "randaugment_magnitude": 30,
    "ema": 0.99999,
}
_ABOVE_0 = ("share", "head_rate", "layer_decay")


@dataclass(frozen=True)
class Recipe:
    """How to step and what to show. The learning rate is linear over the first `warmup` share of steps, then cosine to zero.

    `share` is the share of the training images, of each class, that is trained on. An epoch shows at least `least_pictures`
    of them, a smaller set again and again, and at most `most_pictures`, of a larger set others in each epoch (0: all). Epochs
    are judged by at most `most_validated` validation images (0: all), the last one of several by all.
    `optimizer` is sgd, with Nesterov `momentum` and `learning_rate` for a batch of 128 images, which scales linearly with
    `batch_size`; or adamw (arXiv:1711.05101), with `momentum` as its first beta and `learning_rate` as it is written, for
    batches of any size. `head_rate` multiplies it for the classifier, `layer_decay` for each stage, counted from the last
    one towards the stem; 1 is off. Of the first blocks of a network that inherited, those whose maps have at least
    1/`kept_stride` of the input's sides stay as they are. Weight decay acts on weights of convolutions and linear layers only.
    Of the images, `crop_scale` is the smallest share of the area that a random resized crop shows, `colour` the strength of
    random brightness, contrast and saturation, `crop_padding` the share of the side that a random crop may move by, `cutout`
    the side of a square that is left out as a share of theirs, `mixup` its alpha, `randaugment_ops` how many operations at
    `randaugment_magnitude` (0 to 30) each image gets. `ema` is the decay per step of averaged weights, which are those that
    are evaluated and kept. 0 is off. `mixed_precision` computes parts in less than float32 where that is faster
    (evaluators.training.precision).
    """

    epochs: int
    share: float
    least_pictures: int
    most_pictures: int
    most_validated: int
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    head_rate: float
    layer_decay: float
    kept_stride: int
    momentum: float
    weight_decay: float
    warmup: float
    label_smoothing: float
    crop_scale: float
    crop_padding: float
    flip: bool
    colour: float
    cutout: float
    mixup: float
    randaugment_ops: int
    randaugment_magnitude: int
    ema: float
    mixed_precision: bool

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                continue
            if value < _LEAST.get(name, 0):
                raise InputError(f"{name} must be at least {_LEAST.get(name, 0)}, not {value}")
            if name in _MOST and value > _MOST[name]:
                raise InputError(f"{name} must be at most {_MOST[name]}, not {value}")
            if name in _ABOVE_0 and value == 0:
                raise InputError(f"{name} must be above 0")
        if 0 < self.most_pictures < self.least_pictures:
            raise InputError(f"most_pictures must be 0 (all) or at least least_pictures, {self.least_pictures}")
        if self.crop_scale and self.crop_padding:
            raise InputError("crop_scale and crop_padding are two kinds of random crop; one of them must be 0")


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
        if wanted := _lacks(kind, data[name]):
            raise InputError(f"{source}: {name} must be {wanted}, not {data[name]!r}")
    try:
        return Recipe(**data)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _lacks(kind: Any, value: object) -> str:
    """What a value of this kind would be; nothing if `value` is one."""
    if get_origin(kind) is Literal:
        return "" if value in get_args(kind) else " or ".join(get_args(kind))
    allowed = {int: (int,), float: (int, float), bool: (bool,)}[kind]
    return "" if type(value) in allowed else kind.__name__
