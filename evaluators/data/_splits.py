"""Stratified, deterministic splits."""

import numpy as np

from evaluators.data.dataset import Images
from search_spaces.errors import InputError

SEED = 20_240_229  # fixed: the split belongs to the data, not to a run's seed
VALIDATION, TEST = 0.15, 0.15


def stratified(labels: np.ndarray, classes: tuple[str, ...], shares: list[float]) -> list[np.ndarray]:
    """Indexes of each split, int64 and ascending: the remainder first, then one split per entry of `shares`.

    Every split has its share of each class, rounded, and at least one image of it. Raises InputError naming a class with
    fewer images than splits. `labels` is int64 [N]; label i means `classes[i]`.
    """
    shuffle = np.random.RandomState(SEED)  # NumPy guarantees that this generator's stream never changes
    parts: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    for label, name in enumerate(classes):
        mine = shuffle.permutation(np.flatnonzero(labels == label))
        for part, indexes in zip(parts, _cut(mine, name, shares), strict=True):
            part.append(indexes)
    return [np.sort(np.concatenate(part)) for part in parts]


def _cut(indexes: np.ndarray, name: str, shares: list[float]) -> list[np.ndarray]:
    if len(indexes) <= len(shares):
        raise InputError(
            f'class "{name}" has {len(indexes)} image{"s" * (len(indexes) != 1)} to split; it needs at least '
            f"{len(shares) + 1}, one for each set"
        )
    sizes = [max(1, round(share * len(indexes))) for share in shares]
    edges = len(indexes) - np.cumsum(sizes[::-1])[::-1]
    return np.split(indexes, edges)


def split_off(images: dict[str, Images], classes: tuple[str, ...]) -> str:
    """Splits missing validation and test sets off the training set; returns the remark for the report."""
    shares = {part: share for part, share in {"validation": VALIDATION, "test": TEST}.items() if part not in images}
    if not shares:
        return ""
    train = images["train"]
    rest, *taken = stratified(train.labels, classes, list(shares.values()))
    for part, indexes in zip(shares, taken, strict=True):
        images[part] = _take(train, indexes)
    images["train"] = _take(train, rest)
    words = " and ".join(f"{100 * share:.0f} % for {part}" for part, share in shares.items())
    return f"; its training images, split by class: {words}"


def _take(images: Images, indexes: np.ndarray) -> Images:
    return Images([images.items[i] for i in indexes], images.labels[indexes])
