"""Latency: measuring networks on a device, device profiles, and the predictor fitted to them."""
