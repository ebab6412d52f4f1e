"""Linear probe: closed-form ridge regression on a network's features, used as a score and to initialise the classifier."""

import math
from dataclasses import dataclass
from time import perf_counter

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from evaluators.training.batches import Batches
from evaluators.training.lean import at_once, folded
from evaluators.training.metrics import Scores, confusion, scores
from search_spaces.network import classifier

_PENALTIES = torch.logspace(-4, 2, 25).tolist()
_SHARPEST = 100.0  # maximum scale of the regression's outputs, about 0 to 1, before the softmax
_SMOOTHING = 0.1  # label smoothing, as in the recipes: training would have to undo an overconfident head
_LINEAR = 3.0  # above this, ReLU and hard-swish are the identity


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression to one-hot targets: `weight` [classes, F] and `bias` [classes], if it has one.

    `left_out` [N, classes] are leave-one-out predictions; `penalty` is the penalty on the squared weights, per image, for
    features scaled to unit variance.
    """

    weight: Tensor
    bias: Tensor | None
    left_out: Tensor
    penalty: float


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier on features: `weight` [classes, F], `bias` [classes] unless the network's classifier has none.

    `scores` are leave-one-out scores on the `images` training images that it is fitted to; `validation` are scores on the
    validation set, if given.
    """

    weight: Tensor
    bias: Tensor | None
    scores: Scores
    validation: Scores | None
    penalty: float
    images: int
    seconds: float

    def logits(self, features: Tensor) -> Tensor:
        """Logits [N, classes] of features [N, F]."""
        return F.linear(features, self.weight, self.bias)


def probe(
    network: nn.Module, train: Batches, validation: Batches | None = None, most: int = 2000, batch_size: int | None = None
) -> Probe:
    """Fits a linear classifier to a network's features on a stratified sample of about `most` training images.

    Features are the inputs of the network's classifier, averaged over pixels for a pixelwise classifier, from one pass in eval
    mode. Logits are scaled to minimise the cross-entropy of the leave-one-out predictions with smoothed labels (temperature
    scaling, Guo et al. 2017, arXiv:1706.04599). If the classifier has no bias, the probe is fitted without one. The bias of a
    pixelwise classifier is raised equally for all classes, until the activation after it is the identity.
    """
    start, last = perf_counter(), classifier(network)
    found, labels, pixels = features(network, train, train.share(min(1.0, most / len(train))), batch_size)
    fitted = ridge(found, labels, last.weight.shape[0], last.bias is not None)
    scale = _scale(fitted.left_out, labels)
    weight, bias = scale * fitted.weight, None if fitted.bias is None else scale * fitted.bias
    if bias is not None and pixels is not None:
        bias = bias + _LINEAR - 2 * float(F.conv2d(pixels, weight[:, :, None, None], bias).min().clamp_max(0))
    held_out = None
    if validation is not None:
        shown, of, _ = features(network, validation, torch.arange(len(validation)), batch_size)
        held_out = _scores(F.linear(shown, weight, bias), of)
    reached = _scores(fitted.left_out, labels)
    return Probe(weight, bias, reached, held_out, fitted.penalty, len(found), perf_counter() - start)


@torch.no_grad()
def begin_head(network: nn.Module, begun: Probe) -> None:
    """Sets the network's classifier to the probe."""
    last = classifier(network)
    last.weight.copy_(begun.weight.view_as(last.weight))
    if last.bias is not None and begun.bias is not None:
        last.bias.copy_(begun.bias)


def features(
    network: nn.Module, split: Batches, among: Tensor, batch_size: int | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(features [N, F], labels [N], pixels) of the images at indices `among`, in one pass in eval mode.

    `pixels` [B, F, H, W] is the input of a pixelwise classifier for the last batch, else None.
    """
    network, device = folded(network), split.labels.device
    given: list[Tensor] = []
    classifier(network).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    found, labels = [], []
    with torch.no_grad():
        for images, of in split.in_order(batch_size or at_once(split.preprocessing.input, device), among):
            network(images)
            last = given.pop()
            found.append(last.mean((2, 3)) if last.dim() == 4 else last)
            labels.append(of)
    return torch.cat(found), torch.cat(labels), last if last.dim() == 4 else None


def ridge(features: Tensor, labels: Tensor, classes: int, intercept: bool = True) -> Ridge:
    """Ridge regression of one-hot targets on features [N, F], scaled to unit variance, with the best penalty.

    The penalty minimises the leave-one-out squared error, computed from a single SVD (PRESS, Allen 1974; scikit-learn's
    RidgeCV).
    """
    n = len(features)
    targets = F.one_hot(labels, classes).to(features.dtype)
    middle, level = (features.mean(0), targets.mean(0)) if intercept else (features.new_zeros(()), targets.new_zeros(()))
    spread = (features - middle).square().mean(0).sqrt()
    spread[spread < 1e-6 * spread.max()] = math.inf  # ignore constant features
    left, values, right = torch.linalg.svd((features - middle) / spread, full_matrices=False)
    turned = left.T @ (targets - level)

    def answers(penalty: float) -> Tensor:
        """Leave-one-out predictions: an image's residual is divided by 1 minus its leverage."""
        kept = values.square() / (values.square() + n * penalty)
        leverage = left.square() @ kept + (1 / n if intercept else 0.0)
        fitted = left @ (kept[:, None] * turned) + level
        return targets - (targets - fitted) / (1 - leverage).clamp_min(1e-6)[:, None]

    penalty = min(_PENALTIES, key=lambda penalty: float((targets - answers(penalty)).square().sum()))
    weight = (right.T @ ((values / (values.square() + n * penalty))[:, None] * turned)).T / spread
    return Ridge(weight, level - weight @ middle if intercept else None, answers(penalty), penalty)


def _scale(answers: Tensor, labels: Tensor) -> float:
    """The scale of the logits that minimises the cross-entropy."""

    def loss(log_scale: float) -> float:
        return float(F.cross_entropy(math.exp(log_scale) * answers, labels, label_smoothing=_SMOOTHING))

    return math.exp(minimize_scalar(loss, bounds=(0.0, math.log(_SHARPEST)), method="bounded").x)


def _scores(logits: Tensor, labels: Tensor) -> Scores:
    return scores(confusion(labels, logits.argmax(1), logits.shape[1]))
