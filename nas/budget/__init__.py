"""Latency budget: the decision rule, estimates and measurements of candidates, survey of a space."""
