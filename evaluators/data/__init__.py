"""Images to train and test on: `load` one of the registered data sets, or anyone's photos, as plain arrays, or streamed."""

from evaluators.data.dataset import Dataset, Split, UnreadableImage, load, names, summaries
from evaluators.data.preprocess import Preprocessing

__all__ = ["Dataset", "Preprocessing", "Split", "UnreadableImage", "load", "names", "summaries"]
