"""Binarize: draw black-and-white samples from gray ones."""

from __future__ import annotations

import torch
from torch import Tensor

from aekit.plugin import Preprocess, RecipeError, Variant


class Binarize(Variant):
    """Draw each entry as 0 or 1, with its value in [0, 1] as the probability of 1, anew each time a sample is used.

    The drawn sample is both input and target. Likelihoods of binary images are compared on such draws, and an autoencoder
    cannot memorize them.

    Salakhutdinov and Murray, On the quantitative analysis of deep belief networks, 2008; Burda, Grosse and Salakhutdinov,
    Importance weighted autoencoders, 2015.

    Raises:
        RecipeError: the samples are not in [0, 1].
    """

    def prepare(self, preprocess: Preprocess) -> None:
        if not preprocess.unit:
            # The cause tells a caller that tries several kinds of samples that the kind does not fit.
            problem = "variant 'binarize': needs samples in [0, 1]; set encoder.scaling = 'unit'"
            raise RecipeError([problem]) from ValueError("not in [0, 1]")

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return (torch.rand(x.shape, generator=generator, device=x.device) < x).to(x.dtype)
