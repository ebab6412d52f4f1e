"""What is said of runs, networks and devices: results, tables and plots."""
