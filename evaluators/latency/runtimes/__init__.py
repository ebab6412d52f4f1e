"""One file a latency runtime: how a network is prepared, loaded and run once; found by the folder."""
