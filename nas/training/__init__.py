"""Training of one network in its own folder."""
