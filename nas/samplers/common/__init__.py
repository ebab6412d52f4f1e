"""Shared by samplers: the pool of feasible candidates, their features, and a Gaussian process."""
