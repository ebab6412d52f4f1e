"""The training of one network in a folder of its own."""
