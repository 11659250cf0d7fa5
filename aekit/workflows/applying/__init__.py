"""Apply a trained autoencoder or pretext task to data."""
