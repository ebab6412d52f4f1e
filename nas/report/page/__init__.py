"""report.html: one page about a run, in one file, that needs no network access."""

PAGE = "report.html"
