"""A search: proposals, trainings, measurements, and who leads."""
