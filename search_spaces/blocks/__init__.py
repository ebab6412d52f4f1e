"""Block families, one per module; `@block("kind")` registers a class as a block kind, with keyword-only arguments as knobs."""
