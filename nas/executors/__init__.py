"""Executors: run training and evaluation jobs."""
