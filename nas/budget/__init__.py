"""The latency budget: what counts as within it, what is predicted and timed of a candidate, what a space can found."""
