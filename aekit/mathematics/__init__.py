"""Mathematics that plugins share, as plugins never import one another: codes, priors, Jacobians, likelihoods, filters."""
