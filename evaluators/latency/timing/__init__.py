"""Timing: the protocol by which networks are timed beside a reference network, and the files that are timed."""
