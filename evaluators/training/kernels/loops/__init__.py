"""Loops of training on one thread, which Numba compiles when a file is imported; a file holds all that its loops call."""
