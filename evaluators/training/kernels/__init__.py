"""Fast forms of layers for training; `fast` gives them to a network."""
