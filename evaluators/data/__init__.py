"""Pictures to train and test on: `load` one of the registered data sets, or anyone's photos, as plain arrays."""

from evaluators.data.dataset import Dataset, Split, load, names, summaries

__all__ = ["Dataset", "Split", "load", "names", "summaries"]
