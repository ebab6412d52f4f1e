"""Predicting: the models that are fitted to what was measured of a device, and the bound on what they say."""
