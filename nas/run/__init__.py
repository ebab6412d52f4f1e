"""The run folder: its configuration, its journal, and the records in it."""
