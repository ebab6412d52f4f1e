"""Recipe: one way of training a network."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from search_spaces.errors import InputError
from search_spaces.schema import AboveZero, FromZero, Share, Whole, checked, strict
from search_spaces.yaml_files import YamlFiles

Metric = Literal["top1", "balanced_accuracy", "macro_f1"]  # by which accuracies are told (evaluators.training.metrics)
RECIPES = YamlFiles("recipes", "evaluators.training.recipes", "recipe")
_Below1 = Annotated[float, Field(ge=0, le=0.99999)]
_UpTo1 = Annotated[float, Field(gt=0, le=1)]


@strict
@dataclass(frozen=True)
class Recipe:
    """How to step and what to show. The learning rate is linear over the first `warmup` share of steps, then cosine to zero.

    `share` is the share of the training images, of each class, that is trained on. An epoch shows at least `least_images`
    of them, a smaller set again and again, and at most `most_images`, of a larger set others in each epoch (0: all). Epochs
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

    epochs: Annotated[int, Field(ge=1, le=10**6)]
    share: _UpTo1
    least_images: Whole
    most_images: Whole
    most_validated: Whole
    batch_size: Annotated[int, Field(ge=2, le=2**16)]
    optimizer: Literal["sgd", "adamw"]
    learning_rate: FromZero
    head_rate: AboveZero
    layer_decay: _UpTo1
    kept_stride: Whole
    momentum: _Below1
    weight_decay: FromZero
    warmup: Share
    label_smoothing: Share
    crop_scale: Share
    crop_padding: Share
    flip: bool
    colour: FromZero
    cutout: Share
    mixup: FromZero
    randaugment_ops: Annotated[int, Field(ge=0, le=100)]
    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)]
    ema: _Below1
    mixed_precision: bool

    def __post_init__(self) -> None:
        if 0 < self.most_images < self.least_images:
            raise InputError(f"most_images must be 0 (all) or at least least_images, {self.least_images}")
        if self.crop_scale and self.crop_padding:
            raise InputError("crop_scale and crop_padding are two kinds of random crop; one of them must be 0")


def load_recipe(name_or_path: str, epochs: int | None = None) -> Recipe:
    """The recipe called `name`, or in a YAML file; `epochs` overrides its own. Raises InputError naming the file and key."""
    source, data = RECIPES.read(name_or_path)
    return checked(Recipe, data | ({"epochs": epochs} if epochs else {}), source)
