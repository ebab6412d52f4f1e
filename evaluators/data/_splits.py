"""Stratified, deterministic splits."""

import numpy as np

from search_spaces.errors import InputError

SEED = 20_240_229  # fixed: the split belongs to the data, not to a run's seed


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
