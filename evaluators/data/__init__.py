"""Pictures to train and test on: `load` one of the registered data sets, or anyone's photos, as plain arrays, or streamed."""

from evaluators.data.dataset import Dataset, Split, UnreadablePicture, load, names, summaries

__all__ = ["Dataset", "Split", "UnreadablePicture", "load", "names", "summaries"]
