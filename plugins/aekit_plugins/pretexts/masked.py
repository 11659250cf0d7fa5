"""Masked modeling: predict randomly masked patches from the visible ones."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from aekit.objectives.losses import LOSSES
from aekit.objectives.masking import FillOption, MaskFill, masked_mean
from aekit.objectives.patch_tokens import PatchDecoder, PatchGrid
from aekit.plugin import Encoder, Field, Pretext, Samples

Side = Annotated[int, Field(ge=1)]
_PATCH = Field(
    description="size of a patch in steps or pixels, one side or [height, width]; auto: the network's patch size if it has one, "
    "else a sixteenth of a series and an eighth of each side of an image"
)
_NORMALIZE = Field(description="normalize each target patch to mean 0 and standard deviation 1 (MAE's norm_pix_loss)")
_DEPTH = Field(ge=1, description="decoder layers, for networks that work on patches")


class Masked(Pretext):
    """Mask a fixed fraction of patches, chosen at random for each sample, and predict them; only masked patches count.

    Networks that work on patches (`aekit.plugin.Backbone.encode_visible`) encode only the visible ones. Other networks see a fill
    value in the masked patches, and the whole sample is decoded from the code. Patches of series lie along time; patches of
    clips extend through all frames (tubes), so that nothing can be copied from the previous frame.

    He et al., Masked autoencoders are scalable vision learners, 2022; Xie et al., SimMIM: a simple framework for masked image
    modeling, 2022, for the fill value; Tong et al., VideoMAE, 2022, for the tubes.

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
        mask_ratio: Annotated[float, Field(gt=0, lt=1, description="fraction of the patches that is masked")] = 0.6,
        fill: FillOption = "token",
        normalize: Annotated[bool, _NORMALIZE] = False,
        depth: Annotated[int, _DEPTH] = 2,
    ) -> None:
        super().__init__(encoder)
        patch_size, spec = encoder.backbone.patch, encoder.spec
        self.grid = PatchGrid(spec, patch_size if patch == "auto" else patch)
        if patch_size and self.grid.patch[-len(patch_size) :] != tuple(patch_size):
            raise ValueError(f"patch = {patch}: expected the network's patch size, {' x '.join(map(str, patch_size))}")
        if self.grid.count < 2:
            raise ValueError(f"patch = {patch}: expected at least two patches in {spec}")
        self.count = min(max(1, round(mask_ratio * self.grid.count)), self.grid.count - 1)
        self.normalize = normalize
        self.likelihood = LOSSES["bce" if encoder.preprocess.unit and not normalize else "mse"](spec)
        self.filling = MaskFill(encoder, "zero" if patch_size else fill)
        if patch_size:
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
        """Return (B, *shape) with masked patches filled, and the mask, bool (B, 1, ...)."""
        chance = torch.rand(len(x), self.grid.count, generator=generator, device=x.device)
        hidden = self.grid.unpool(chance.argsort(1).argsort(1) < self.count)
        return self.filling(x, hidden), hidden

    def predict(self, visible: Tensor, hidden: Tensor) -> Tensor:
        """Predict (B, *shape), before the activation of `likelihood`, from visible samples and their mask (B, 1, ...)."""
        encoder = self.encoder
        if not encoder.backbone.patch:
            return self.decoder(encoder.encode(visible)).float()
        hidden = self.grid.pool(hidden)  # (B, N)
        places = hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, : self.grid.count - self.count]
        tokens, features = encoder.backbone.encode_visible(visible, places)
        return self.decoder(tokens, places, encoder.head(features)).float()

    def loss(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean error per entry of the masked patches."""
        visible, hidden = self.mask_input(x, generator)
        target = self.grid.standardize(x) if self.normalize else x
        return {"loss": masked_mean(self.likelihood.elementwise(self.predict(visible, hidden), target), hidden).mean()}

    def visualize(self, x: Tensor, generator: torch.Generator) -> dict[str, Tensor | list[str]]:
        visible, hidden = self.mask_input(x, generator)
        restored = self.likelihood.activate(self.predict(visible, hidden))
        if self.normalize:  # masked patches get the mean and standard deviation of the visible ones
            shape = (-1,) + (1,) * (x.ndim - 1)
            mean = masked_mean(x, ~hidden).view(shape)
            restored = mean + masked_mean((x - mean).square(), ~hidden).sqrt().view(shape) * restored
        return {"network input": visible, "network output": torch.where(hidden, restored, x), "sample": x}
