"""One file a data set: a function `read(path, download) -> Found`, the first line of whose docstring is the data set's summary.

A data set is called by the name of its file, with hyphens. Nothing heavy is imported until images are read.
"""
