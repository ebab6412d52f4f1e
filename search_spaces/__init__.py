"""Search spaces, blocks, genotypes and hand-designed anchor networks."""
