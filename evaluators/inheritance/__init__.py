"""Inheritance: remaps weights from a donor, a trained network, to other networks."""
