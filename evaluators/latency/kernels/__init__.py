"""Kernels: which ones a runtime runs for a network, how large they are, and what the runtime itself tells of their times."""
