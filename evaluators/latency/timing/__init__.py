"""Timing: the protocol that times networks next to a reference network, and the exported files that it times."""
