"""The search: proposals, trainings, measurements, ranking."""
