"""Pages about runs, each in one file that needs no network access: report.html about one, comparison.html about several."""

PAGE = "report.html"
