"""Seeds that follow from what they are for, not from order, process or worker."""

import hashlib

from search_spaces.genotype import Genotype


def seed_from(*parts: object) -> int:
    """A seed below 2**32 that follows from its parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])


def training_seed(seed: int, genotype: Genotype, stage: str) -> int:
    """The seed of one training: it follows from the run's seed, the genotype and the stage."""
    return seed_from(seed, genotype.text, stage)
