"""Precision: the number format in which a network is deployed."""

from typing import Literal

Precision = Literal["float32", "int8"]
