"""Masked modeling: random patches of the sample are hidden, and asked for from the others."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.objectives.base import Pretext
from aekit.objectives.losses import LOSSES
from aekit.objectives.masking import FillOption, MaskFill, masked_mean
from aekit.objectives.patch_tokens import PatchDecoder, PatchGrid
from aekit.plugin import Encoder, Field, Samples

Side = Annotated[int, Field(ge=1)]
_PATCH = Field(
    description="steps or pixels of a patch, one side or [height, width]; auto: the network's own where it is made of patches, "
    "else a sixteenth of a series and an eighth of each side of an image"
)
_NORMALIZE = Field(description="each patch that is asked for is brought to mean 0 and deviation 1 first")
_DEPTH = Field(ge=1, description="layers of the decoder of a network that is made of patches")


class Masked(Pretext):
    """Hides the same share of patches in every sample, others in each, and asks for them; errors count there alone.

    Networks made of patches (`aekit.Backbone.encode_visible`) encode the visible ones alone. All others are shown something in
    place of the hidden ones, and everything is decoded from the code. The patches of series lie along time; those of clips go
    through all frames, so that nothing can be copied from the frame before.

    He et al., Masked autoencoders are scalable vision learners, 2022; Xie et al., SimMIM: a simple framework for masked image
    modeling, 2022, for what is shown in place; Tong et al., VideoMAE, 2022, for the tubes.

    Raises:
        ValueError: vectors, patches that do not fit into the sample, or a backbone without a decoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        patch: Annotated[
            Literal["auto"] | Side | Annotated[list[Side], Field(min_length=1, max_length=2)], _PATCH
        ] = "auto",
        share: Annotated[float, Field(gt=0, lt=1, description="of the patches, that is hidden")] = 0.6,
        fill: FillOption = "token",
        normalize: Annotated[bool, _NORMALIZE] = False,
        depth: Annotated[int, _DEPTH] = 2,
    ) -> None:
        super().__init__(encoder)
        own, spec = encoder.backbone.patch, encoder.spec
        self.grid = PatchGrid(spec, own if patch == "auto" else patch)
        if own and self.grid.patch[-len(own) :] != tuple(own):
            raise ValueError(f"patch = {patch}: expected that of the network, {' x '.join(map(str, own))}")
        if self.grid.count < 2:
            raise ValueError(f"patch = {patch}: expected two patches or more in {spec}")
        self.count = min(max(1, round(share * self.grid.count)), self.grid.count - 1)
        self.normalize = normalize
        self.likelihood = LOSSES["bce" if encoder.preprocess.unit and not normalize else "mse"](spec)
        self.filling = MaskFill(encoder, "zero" if own else fill)
        if own:
            self.decoder: torch.nn.Module = PatchDecoder(
                encoder.backbone.tokens_dim, encoder.dim, self.grid, spec.shape[0], depth
            )
            return
        try:
            self.decoder = encoder.decoder()
        except NotImplementedError as error:
            raise ValueError(f"the task restores samples, but {error}") from None

    def start(self, samples: Samples) -> None:
        self.filling.start(samples, self.encoder)

    def mask_input(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(B, *shape) -> the same with the filling in the hidden patches, and those as bool (B, 1, ...)."""
        chance = torch.rand(len(x), self.grid.count, generator=generator, device=x.device)
        hidden = self.grid.unpool(chance.argsort(1).argsort(1) < self.count)
        return self.filling(x, hidden), hidden

    def predict(self, visible: Tensor, hidden: Tensor) -> Tensor:
        """(B, *shape) and what is hidden in it, (B, 1, ...) -> (B, *shape), before the activation of `likelihood`."""
        encoder = self.encoder
        if not encoder.backbone.patch:
            return self.decoder(encoder.encode(visible)).float()
        hidden = self.grid.pool(hidden)  # (B, N)
        places = hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, : self.grid.count - self.count]
        tokens, features = encoder.backbone.encode_visible(visible, places)
        return self.decoder(tokens, places, encoder.head(features)).float()

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """(B, *shape) -> the mean error of an entry of the hidden patches."""
        visible, hidden = self.mask_input(x, generator)
        target = self.grid.standardize(x) if self.normalize else x
        return {"loss": masked_mean(self.likelihood.elementwise(self.predict(visible, hidden), target), hidden).mean()}

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        visible, hidden = self.mask_input(x, generator)
        restored = self.likelihood.activate(self.predict(visible, hidden))
        if (
            self.normalize
        ):  # a hidden patch's own mean and deviation were not asked for: it gets those of all that is visible
            shape = (-1,) + (1,) * (x.ndim - 1)
            mean = masked_mean(x, ~hidden).view(shape)
            restored = mean + masked_mean((x - mean).square(), ~hidden).sqrt().view(shape) * restored
        return {"sees": visible, "restores": torch.where(hidden, restored, x), "sample": x}
