"""Surgeries, one file each: a dataclass `Settings` with the recipe's keys, and a class `Surgery` that is made from it."""
