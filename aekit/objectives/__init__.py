"""Define what training minimizes: contracts, losses, autoencoders, layer-wise and joint-embedding training, restoration."""
