"""Scripts that are copied into exports; they run without this project."""
