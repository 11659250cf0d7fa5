"""The plain autoencoder: undercomplete if its code is narrower than the data, overcomplete if wider."""

from aekit.objectives.base import Variant


class Plain(Variant):
    """Adds nothing. With a wide code the network can learn to copy: then another variant has to prevent it.

    Rumelhart, Hinton and Williams, Learning internal representations by error propagation, 1986.
    """
