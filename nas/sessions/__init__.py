"""A search or a training from its options to its results, begun or resumed."""
