"""Devices: what was measured of one, how, where it is kept, and bundles that measure another machine."""
