"""Bundled device profiles: one file per device, measured on that device."""
