"""Device profiles that ship: one file a device, measured on that device."""
