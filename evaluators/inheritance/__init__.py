"""Inheritance: donors, trained networks that others inherit weights from, and how weights are remapped."""
