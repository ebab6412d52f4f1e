"""What can be built: blocks, genotypes, search spaces and hand-designed anchor networks."""
