"""Reports on runs, networks and devices: results, tables, plots."""
