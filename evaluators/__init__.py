"""How good is a network: its cost, its latency on a device, its accuracy after training on pictures."""
