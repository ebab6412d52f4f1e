"""Devices: profiles, how they are measured and stored, and bundles that measure other machines."""
