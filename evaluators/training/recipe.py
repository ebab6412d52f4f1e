"""Recipe: how a network is trained; the same for candidates and anchors."""

from dataclasses import dataclass, fields
from typing import Any

from search_spaces import resources
from search_spaces.errors import InputError, near_miss

_FOLDER = "evaluators.training.recipes"


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum; learning rate linear over the first `warmup` share of steps, then cosine to zero.

    `learning_rate` is per batch of 128 pictures and scales linearly with `batch_size`; weight decay acts on weights of
    convolutions and linear layers only. `crop_padding` is the share of the picture's side that a random crop may move by.
    `search_share` is the share of the training pictures, of each class, that candidates see in the search; finalists and
    anchors are retrained on all. An epoch shows at least `least_pictures`: a smaller set is shown again and again.
    """

    epochs: int
    final_epochs: int
    search_share: float
    least_pictures: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    warmup: float
    label_smoothing: float
    crop_padding: float
    flip: bool

    def __post_init__(self) -> None:
        least = {"epochs": 1, "final_epochs": 1, "batch_size": 2}
        for name, value in vars(self).items():
            if not isinstance(value, bool) and value < least.get(name, 0):
                raise InputError(f"{name} must be at least {least.get(name, 0)}, not {value}")
        if not 0 < self.search_share <= 1:
            raise InputError(f"search_share must be above 0 and at most 1, not {self.search_share}")


def load_recipe(name_or_path: str) -> Recipe:
    """The recipe called `name`, or in a YAML file; raises InputError naming the file and key."""
    source, data = resources.read(_FOLDER, "recipe", name_or_path)
    return recipe_of(data, source)


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
