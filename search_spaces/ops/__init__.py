"""Operations that blocks share: activations, squeeze-and-excitation, channel shuffle, shifts."""
