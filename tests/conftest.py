"""Settings of all tests: hypothesis never judges by the clock, its examples are the same every time, and Ray's workers run."""

import os

from hypothesis import settings

# else they get no processor while other tests keep all busy
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (Ray spells it so)

settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")
