"""Seeds derived from their purpose, independent of order, process and worker."""

import hashlib

from search_spaces.genotype import Genotype


def seed_from(*parts: object) -> int:
    """A seed below 2**32, derived from `parts` by hashing."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])


def training_seed(seed: int, genotype: Genotype, stage: str) -> int:
    """Seed of one training, derived from the run's seed, the genotype and the stage."""
    return seed_from(seed, genotype.text, stage)
