"""Black and white images from gray ones, drawn anew at every presentation."""

from __future__ import annotations

import torch
from torch import Tensor

from aekit.objectives.base import Variant
from aekit.plugin import Preprocess, RecipeError


class Binarize(Variant):
    """Each entry of a sample in [0, 1] is the chance that it is 1: the sample that is encoded, and restored, is drawn by it.

    What likelihoods of binary images are compared on, and noise that an autoencoder cannot learn by heart.

    Salakhutdinov and Murray, On the quantitative analysis of deep belief networks, 2008; Burda, Grosse and Salakhutdinov,
    Importance weighted autoencoders, 2015.

    Raises:
        RecipeError: samples that are not in [0, 1].
    """

    def prepare(self, preprocess: Preprocess) -> None:
        if not preprocess.unit:
            # The cause tells those who try one kind of sample after another that it is the kind which does not fit.
            problem = "variant 'binarize': needs samples in [0, 1]; set encoder.scaling = 'unit'"
            raise RecipeError([problem]) from ValueError("not in [0, 1]")

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return (torch.rand(x.shape, generator=generator, device=x.device) < x).to(x.dtype)
