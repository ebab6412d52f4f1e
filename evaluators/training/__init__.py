"""Training a network on images held in memory: the recipe and the loop."""
