"""A trial source of fixed shape and spectrum at many positions, whose norms are fitted together."""
