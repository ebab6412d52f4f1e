"""Hand-designed networks: one YAML file a family, its variants inside."""
