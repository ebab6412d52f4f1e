"""Data sets: `load` a registered data set or a folder of photos, in memory or streamed."""

from evaluators.data._load import load
from evaluators.data._registry import names, summaries
from evaluators.data._unreadable import UnreadableImage
from evaluators.data.dataset import Dataset, Split
from evaluators.data.preprocess import Preprocessing

__all__ = ["Dataset", "Preprocessing", "Split", "UnreadableImage", "load", "names", "summaries"]
