"""Plain autoencoder: undercomplete if the code is narrower than the data, overcomplete if it is wider."""

from aekit.plugin import Variant


class Plain(Variant):
    """Add no penalty. With a wide code the network can learn to copy its input unless another variant prevents it.

    Rumelhart, Hinton and Williams, Learning internal representations by error propagation, 1986.
    """
