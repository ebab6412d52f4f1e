"""Start or resume a search, training or measurement, from options to results."""
