"""The encoder: preprocessing, backbone and head in one module. Raw samples in, embeddings out. It is all that ships.

Its digest, a hash of its architecture and every weight, is its identity: embeddings, indexes, exports and results carry it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Backbone, BackboneWithDense, TiedLayer
from aekit.encoder.embedding import embed
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.identity import compute_digest
from aekit.encoder.model_card import model_card
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import RecipeError
from aekit.io.atomic import atomic_folder, write_json, write_text
from aekit.io.weights import save_weights
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import validate_options
from aekit.version import __version__

FORMAT = 1
CHECK_TOLERANCE = 1e-3


class Encoder(nn.Module):
    """Raw samples in, embeddings out.

    Attributes:
        spec: of the raw samples.
        dim: D, width of the embedding.
        architecture: what, with the weights, defines it: backbone, head, dim, normalize. Plain JSON.
        plugins: whose code it needs: the backbone, and the variant that gives the head, if one does.
        frozen: how many of its lowest `layers` stand still in training, and `held`, their weights; see
            `aekit.encoder.freezing.freeze`.
        record: where it came from: data, metrics. Not part of its identity.
    """

    def __init__(
        self,
        spec: SampleSpec,
        preprocess: Preprocess,
        backbone: Backbone,
        head: nn.Module,
        architecture: dict[str, Any],
        plugins: Sequence[Plugin],
    ) -> None:
        super().__init__()
        self.spec, self.architecture = spec, architecture
        self.dim = int(architecture["dim"]) or backbone.features_dim
        self.preprocess, self.backbone, self.head = preprocess, backbone, head
        self.normalize = bool(architecture["normalize"])
        self.plugins = tuple(plugins)
        self.frozen, self.frozen_params = 0, list[nn.Parameter]()
        self.record: dict[str, Any] = {}

    @property
    def features_dim(self) -> int:
        return self.backbone.features_dim

    def decoder(self, channels: int | None = None) -> nn.Module:
        """A decoder with first weights, (B, D) -> (B, *shape), on the scale of the preprocessed sample, before any output
        activation.

        Args:
            channels: (B, D) -> (B, channels, ...) instead, for what is not the sample itself.

        Raises:
            NotImplementedError: the backbone has no mirror image, or none for so many channels.
        """
        shape = self.backbone.features_shape
        backbone = self.backbone if channels is None else self._alike(channels)
        mirror = getattr(self.head, "mirror", None)
        if mirror is not None:
            return backbone.decoder(self.dim, mirror(shape))
        if isinstance(self.head, nn.Identity):
            return backbone.decoder(self.dim, nn.Unflatten(1, shape))
        if backbone.tied and isinstance(self.head, nn.Linear):
            widen = nn.Sequential(TiedLayer(self.head, self.features_dim), nn.Unflatten(1, shape))
            return backbone.decoder(self.dim, widen)
        return backbone.decoder(self.dim)

    def _alike(self, channels: int) -> Backbone:
        """The same backbone for samples of so many channels, for its mirrors alone."""
        if self.backbone.tied:
            raise NotImplementedError("a tied decoder gives back the sample, and nothing of other channels")
        spec = replace(self.spec, shape=(channels, *self.spec.shape[1:]))
        backbone = _build_backbone(spec, self.architecture, self.plugins[0])
        # A code that is the features, or from which a head's own mirror makes them, leads back from those alone.
        bound = isinstance(self.head, nn.Identity) or hasattr(self.head, "mirror")
        if bound and backbone.features_shape != self.backbone.features_shape:
            raise NotImplementedError(
                f"its features for {channels} channels are of shape {backbone.features_shape}, "
                f"for the sample {self.backbone.features_shape}"
            )
        return backbone

    @property
    def layers(self) -> list[nn.Module]:
        """What can be trained one by one, from the bottom: the stages of the backbone and, if it has weights, the head."""
        return [*self.backbone.stages, *([self.head] if next(self.head.parameters(), None) is not None else [])]

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        for layer in self.layers[: self.frozen]:
            layer.eval()
        return self

    @property
    def device(self) -> torch.device:
        return self.preprocess.scale.device

    def forward(self, raw: Tensor) -> Tensor:
        """(B, *spec.shape) raw samples of spec.dtype -> (B, D) float32 embeddings."""
        code = self.encode(self.preprocess(raw))
        return nn.functional.normalize(code, dim=1) if self.normalize else code

    def encode(self, x: Tensor) -> Tensor:
        """(B, *shape) preprocessed -> (B, D), before any normalization of the output."""
        return self.head(self.backbone(x))

    def embed(self, data: Any, **options: Any) -> Embeddings:
        """Embeds a source, an array, a folder or ``SOURCE:NAME``; see `aekit.embed` for the options."""
        return embed(self, data, **options)

    @property
    def digest(self) -> str:
        """sha256 of the architecture, the sample spec and every weight's name, dtype, shape and bytes."""
        return compute_digest(self.architecture, self.spec, self)

    def with_random_weights(self, seed: int) -> Encoder:
        """The same architecture and preprocessing with fresh random weights: the control every encoder must beat."""
        fresh = build_encoder(self.spec, self.preprocess, self.architecture, seed=seed, plugins=self.plugins)
        return fresh.to(self.device).eval()

    def save(self, folder: str | Path) -> Path:
        """Writes ``encoder.json``, ``weights.safetensors`` and a model card into a new folder.

        Raises:
            OutputError: the folder holds something already.
        """
        folder = Path(folder)
        description = self.description()
        with atomic_folder(folder) as part:
            save_weights(self, part / "weights.safetensors")
            write_json(part / "encoder.json", description)
            write_text(part / "README.md", model_card(description))
        return folder

    def description(self) -> dict[str, Any]:
        """What ``encoder.json`` holds."""
        return {
            "format": FORMAT,
            "aekit": __version__,
            "digest": self.digest,
            "spec": self.spec.to_dict(),
            "architecture": self.architecture,
            "preprocess": self.preprocess.to_dict(),
            "plugins": [plugin.to_dict() for plugin in self.plugins],
            "check": _check_values(self),
            **self.record,
        }


def build_encoder(
    spec: SampleSpec,
    preprocess: Preprocess,
    architecture: dict[str, Any],
    *,
    seed: int,
    plugins: Sequence[Plugin] | None = None,
    head: nn.Module | None = None,
) -> Encoder:
    """Builds an encoder with random weights from its architecture.

    Args:
        spec: of the raw samples.
        preprocess: its statistics; shared, not copied.
        architecture: ``{"backbone": {"name", "options"}, "head": {"variant", "options"} or None, "dim", "normalize"}``;
            a dim of 0 stands for the features themselves; ``"hidden"``, widths of dense layers above the backbone's own stages,
            is there only where there are any.
        seed: of the weights. The global random state is left alone.
        plugins: as `Encoder.plugins`; by default looked up by the names in the architecture.
        head: an already built head, or None to build the one that the architecture names.
    """
    plugins = required_plugins(architecture) if plugins is None else plugins
    with temporary_seed(seed):
        try:
            backbone = _build_backbone(spec, architecture, plugins[0])
        except ValueError as error:
            raise RecipeError([f"backbone {plugins[0].name!r} cannot take {spec}: {error}"]) from error
        if head is None:
            head = _build_head(architecture, plugins, backbone)
    return Encoder(spec, preprocess, backbone, head, architecture, plugins)


def required_plugins(architecture: dict[str, Any]) -> list[Plugin]:
    """The plugins whose code an architecture needs: the backbone, and the variant that gives the head, if one does."""
    plugins = [registry().get("backbone", architecture["backbone"]["name"], required_by="encoder.backbone")]
    if architecture["head"]:
        plugins.append(registry().get("variant", architecture["head"]["variant"], required_by="encoder head"))
    return plugins


def _build_backbone(spec: SampleSpec, architecture: dict[str, Any], plugin: Plugin) -> Backbone:
    own: Backbone = plugin.load()(
        spec, **validate_options(plugin, architecture["backbone"]["options"], "encoder.backbone")
    )
    return BackboneWithDense(own, architecture["hidden"]) if architecture.get("hidden") else own


def _build_head(architecture: dict[str, Any], plugins: Sequence[Plugin], backbone: Backbone) -> nn.Module:
    dim = architecture["dim"]
    if not architecture["head"]:
        return nn.Linear(backbone.features_dim, dim) if dim else nn.Identity()
    options = validate_options(plugins[1], architecture["head"]["options"], f"variant {plugins[1].name}")
    try:
        head = plugins[1].load()(**options).head(tuple(backbone.features_shape), dim or backbone.features_dim)
    except ValueError as error:
        raise RecipeError([f"variant {plugins[1].name!r}: {error}"]) from error
    if head is None:
        raise RecipeError([f"variant {plugins[1].name!r} was to give the encoder its head, but gives none"])
    return head


@contextmanager
def temporary_seed(seed: int) -> Iterator[None]:
    """Layers draw their first weights from torch's global generator: this gives them a seed and puts it back after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _check_values(encoder: Encoder) -> list[float]:
    """First numbers of the embedding of a made-up sample: tells when code, not weights, has changed."""
    training = encoder.training
    wave = torch.sin(0.01 * torch.arange(encoder.spec.size, dtype=torch.float64)).reshape(1, *encoder.spec.shape)
    low, high = encoder.preprocess.raw_range()
    raw = (low.cpu() + (high - low).cpu() * (wave + 1) / 2).to(getattr(torch, encoder.spec.dtype)).to(encoder.device)
    encoder.eval()
    with torch.no_grad():
        values = encoder(raw)[0, :16].double().cpu().tolist()
    encoder.train(training)
    return values
