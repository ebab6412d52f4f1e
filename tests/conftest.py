"""Settings of all tests: hypothesis never judges by the clock, and its examples are the same on every run."""

from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")
