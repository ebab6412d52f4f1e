"""Export of trained networks for deployment."""
