"""Deployment files of a trained network."""
