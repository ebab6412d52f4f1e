"""Recipe: how a network is trained."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from search_spaces.errors import InputError
from search_spaces.plugins import Modules
from search_spaces.schema import AboveZero, FromZero, Share, Whole, checked, strict
from search_spaces.yaml_files import YamlFiles

Metric = Literal["top1", "balanced_accuracy", "macro_f1"]  # the reported accuracy (evaluators.training.metrics)
RECIPES = YamlFiles("recipes", "evaluators.training.recipes", "recipe")
SURGERIES = Modules("surgeries", "evaluators.training.surgeries", "surgery")
_Below1 = Annotated[float, Field(ge=0, le=0.99999)]
_UpTo1 = Annotated[float, Field(gt=0, le=1)]


@strict
@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training. The learning rate warms up linearly over the first `warmup` share of steps, then follows
    a cosine to zero.

    `share` is the stratified share of the training set to use. An epoch has at least `least_images` images, repeating a smaller
    set, and at most `most_images` (0: all), taking the next ones of a larger set in each epoch. Epochs are evaluated on at most
    `most_validated` validation images (0: all), except the last of several, which uses all.

    `optimizer` is sgd, with Nesterov `momentum` and a `learning_rate` for batches of 128 images, scaled linearly with
    `batch_size`; or adamw (arXiv:1711.05101), with `momentum` as its first beta and an unscaled `learning_rate`. `head_rate`
    multiplies the learning rate of the classifier; `layer_decay` multiplies it per stage, from the last one towards the stem;
    1 is off. In a network with inherited weights, leading blocks with an output stride of at most `kept_stride` are frozen.
    Weight decay applies to weights of convolutions and linear layers only.

    `crop_scale` is the smallest area of a random resized crop, `crop_padding` the largest shift of a random crop as a share of
    the side, `colour` the strength of brightness, contrast and saturation jitter, `cutout` the side of the erased square as a
    share of the image's, `mixup` its alpha; `randaugment_ops` operations of `randaugment_magnitude` (0 to 30) are applied per
    image. `ema` is the decay per step of the averaged weights, which are evaluated and kept. 0 is off. `mixed_precision` runs
    parts below float32 where that is faster (evaluators.training.precision). With `class_weights`, an image counts in the loss
    by the inverse of its class's number of training images; the mean over the training set is 1.

    `surgery` changes the network's structure during the training (evaluators.training.surgeries): its name as `kind`, and its
    settings.
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
    class_weights: bool = False
    surgery: dict[str, float | str | list[float]] | None = None

    def __post_init__(self) -> None:
        if 0 < self.most_images < self.least_images:
            raise InputError(f"most_images must be 0 (all) or at least least_images, {self.least_images}")
        if self.crop_scale and self.crop_padding:
            raise InputError("crop_scale and crop_padding are alternative random crops; one of them must be 0")
        if self.surgery is not None:
            self._check_surgery(self.surgery)

    def _check_surgery(self, surgery: dict[str, Any]) -> None:
        if self.kept_stride:
            raise InputError("a surgery changes every block, so none can be frozen: kept_stride must be 0")
        settings = dict(surgery)
        if "kind" not in settings:
            raise InputError(f"surgery needs the key kind, one of {', '.join(SURGERIES.names())}")
        kind = SURGERIES.load(str(settings.pop("kind")))  # imports torch
        checked(kind.Settings, settings, "surgery")


def load_recipe(name_or_path: str, epochs: int | None = None, *, class_weights: bool = False) -> Recipe:
    """The recipe called `name`, or in a YAML file; `epochs`, and `class_weights` if true, override the recipe's.

    Raises InputError naming file and key.
    """
    source, data = RECIPES.read(name_or_path)
    changes = ({"epochs": epochs} if epochs else {}) | ({"class_weights": True} if class_weights else {})
    return checked(Recipe, data | changes, source)
