"""Shared operations of blocks: activations, squeeze-and-excitation, channel shuffle, shifts."""
