"""Data sets, one module each, with a function `read(path, download) -> Found`; its docstring's first line is the summary.

A data set is named after its file, with hyphens. Nothing heavy is imported until images are read.
"""
