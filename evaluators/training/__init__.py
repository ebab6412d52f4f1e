"""Training a network on pictures held in memory: the recipe and the loop."""
