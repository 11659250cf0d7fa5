"""What networks are made of, and what is done to them: stages, frozen parts, first weights, weights in files."""
