"""Weight sharing: a supernet with weights for every genotype of a space, trained once, scores them all."""
