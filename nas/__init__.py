"""What to try next: the search, its runs, reports and exports, and the command line."""
