"""Images to train and test on: `load` one of the registered data sets, or anyone's photos, as plain arrays, or streamed."""

from evaluators.data._load import load
from evaluators.data._registry import names, summaries
from evaluators.data._unreadable import UnreadableImage
from evaluators.data.dataset import Dataset, Split
from evaluators.data.preprocess import Preprocessing

__all__ = ["Dataset", "Preprocessing", "Split", "UnreadableImage", "load", "names", "summaries"]
