"""Files damaged on purpose: values of a JSON file replaced, taken away, added or nested, at random places."""

import copy
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 10**30, -0.0, 0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan")),
    *("", "abc", "[/b]", "\0", "1e6", "x" * 5000, [], {}, [[]], [0], {"": 0}, [None] * 20),
)


def mutated(data: Any, rng: random.Random, most: int = 3) -> Any:
    """A copy of what a JSON file holds, with one to `most` faults."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, most)):
        places = list(_places(data))
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        _fault(holder, key, rng)
    return data


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in the data: what holds it, and its key; of a long list a few."""
    items = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    for key, value in items if len(items) < 30 else items[:: len(items) // 8]:
        yield data, key
        yield from _places(value)


def _fault(holder: Any, key: Any, rng: random.Random) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 2 and isinstance(holder, dict):
        holder[rng.choice(["", "new", "name"])] = rng.choice(VALUES)
    elif kind == 3 and isinstance(holder[key], (int, float)):
        holder[key] = rng.choice([-1, 0.1, 10, 1000, 1e9]) * holder[key]
    else:
        holder[key] = rng.choice(VALUES)
