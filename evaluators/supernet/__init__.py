"""Weight sharing: one network that holds weights for every genotype of a space, trained once, and scores them all."""
