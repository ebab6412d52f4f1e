"""Latency prediction: models fitted to a device's measurements, and a conformal upper bound on their predictions."""
