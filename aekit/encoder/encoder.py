"""Encoder: preprocessing, backbone and head in one module, from raw samples to embeddings.

Its digest, a hash of its architecture and weights, is its identity: embeddings, indexes, exports and results carry it.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aekit._arguments import checked_arguments
from aekit.data.locations import portable_record
from aekit.data.spec import SampleSpec
from aekit.encoder._backbone_check import check_attributes, check_features
from aekit.encoder._digest import check_values, compute_digest
from aekit.encoder.backbone import Backbone, BackboneWithDense, ModuleBackbone, TiedLayer
from aekit.encoder.embedding import embed_samples
from aekit.encoder.embeddings import Embeddings
from aekit.encoder.identity import FORMAT, read_description
from aekit.encoder.input_range import check_batch, check_width
from aekit.encoder.model_card import model_card
from aekit.encoder.preprocessing import Preprocess
from aekit.encoder.programs import reset_weights, save_programs
from aekit.errors import OutputError, PluginError, RecipeError
from aekit.io.atomic import atomic_folder, copy_encoder, write_text
from aekit.io.manifests import write_manifest
from aekit.io.summaries import html_summary
from aekit.io.weights import save_weights
from aekit.registry.discovery import GROUP, SESSION, Plugin, registry
from aekit.registry.options import validate_options
from aekit.registry.signatures import signature_problem
from aekit.version import __version__


class Encoder(nn.Module):
    """A network from raw samples to embeddings, with its preprocessing.

    Attributes:
        spec: spec of the raw samples.
        dim: D, length of an embedding.
        architecture: backbone, head, dim and normalize as plain JSON; with the weights, it defines the encoder.
        plugins: plugins whose code it needs: the backbone, and the variant that provides the head, if any.
        frozen: number of its lowest `layers` that stay as they are in training.
        frozen_params: parameters of those layers; see `aekit.encoder.freezing.freeze`.
        record: data and metrics of its training; not part of its identity.
        folder: folder that it was loaded from, or None.

    Examples:
        >>> encoder = aekit.fit("sklearn:digits", dim=2, epochs=1, backbone="mlp")
        >>> encoder.dim, encoder.spec.shape
        (2, (1, 8, 8))
        >>> encoder.embed("sklearn:digits").vectors.shape
        (1797, 2)
        >>> encoder.save("my-encoder").name
        'my-encoder'
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
        self.folder: Path | None = None

    def __repr__(self) -> str:
        return f"<Encoder {self.digest[:12]}: {self.spec} -> {self.dim} dimensions, {self._network()}>"

    def _network(self) -> str:
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"backbone {self.plugins[0].name}, {count:,} parameters"

    def _repr_html_(self) -> str:
        metrics = [{"metric": name.replace("_", " "), "value": v} for name, v in self.record.get("metrics", {}).items()]
        lines = [f"{self.spec} → {self.dim} dimensions", self._network()]
        data = self.record.get("data", {}).get("data")
        lines += [f"trained on {data}"] if data else []
        headline = self.record.get("evaluation", {}).get("headline")
        return html_summary(f"Encoder {self.digest[:12]}", [*lines, *([headline] if headline else [])], metrics)

    @property
    def features_dim(self) -> int:
        return self.backbone.features_dim

    def decoder(self, channels: int | None = None) -> nn.Module:
        """Build a decoder with initial weights from codes (B, D) to preprocessed samples (B, *shape), without output
        activation.

        Args:
            channels: number of output channels, where it differs from the sample's.

        Raises:
            NotImplementedError: the backbone has no decoder, or none with this number of channels.
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
        """Build the same backbone for another number of channels, to use its mirrors."""
        if self.backbone.tied:
            raise NotImplementedError("a tied decoder has as many channels as the sample")
        spec = replace(self.spec, shape=(channels, *self.spec.shape[1:]))
        backbone = _build_backbone(spec, self.architecture, self.plugins[0])
        # A code that is the features, or a head with its own mirror, fixes the shape of the decoder's input.
        fixed = isinstance(self.head, nn.Identity) or hasattr(self.head, "mirror")
        if fixed and backbone.features_shape != self.backbone.features_shape:
            raise NotImplementedError(
                f"its features for {channels} channels are of shape {backbone.features_shape}, "
                f"for the sample {self.backbone.features_shape}"
            )
        return backbone

    @property
    def layers(self) -> list[nn.Module]:
        """Layers that can be trained one by one, lowest first: the stages of the backbone and, if it has weights, the head."""
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
        """Embed raw samples (B, *spec.shape) of spec.dtype as (B, D) float32.

        Gradients reach the weights, for networks that it is a part of. Without `torch.no_grad`, results keep their graph.

        Raises:
            DataError: no tensor, a single sample, samples of another shape or dtype, or images and clips on another scale than
                those of the training.
        """
        check_batch(raw, self.spec, self.preprocess)
        return self.finish(self.encode(self.preprocess(raw)))

    def finish(self, code: Tensor) -> Tensor:
        """Turn the codes (B, D) that `encode` returns into embeddings (B, D) float32."""
        code = code.float()  # bf16 is too coarse for a length of 1
        return nn.functional.normalize(code, dim=1) if self.normalize else code

    def encode(self, x: Tensor) -> Tensor:
        """Encode preprocessed samples (B, *shape) as (B, D), before the output is normalized."""
        return self.head(self.backbone(x))

    def embed(self, data: Any, **options: Any) -> Embeddings:
        """Embed a path, ``SOURCE:NAME``, an array or a source; see `aekit.embed` for the options."""
        return embed_samples(self, data, **options)

    @property
    def digest(self) -> str:
        """Sha256 of the architecture, the sample spec and every weight's name, dtype, shape and bytes.

        Raises:
            DataError: the weights were converted to another width than float32, in which they are saved.
        """
        check_width(self.preprocess)
        return compute_digest(self.architecture, self.spec, self)

    def with_random_weights(self, seed: int) -> Encoder:
        """Build the same architecture and preprocessing with new random weights, a baseline that every encoder must beat."""
        fresh = build_encoder(self.spec, self.preprocess, self.architecture, seed=seed, plugins=self.plugins)
        if any(getattr(plugin.load(), "keeps_weights", False) for plugin in self.plugins):
            with temporary_seed(seed):
                reset_weights(nn.ModuleList([fresh.backbone, fresh.head]))
        return fresh.to(self.device).eval()

    @partial(checked_arguments, name="Encoder.save")
    def save(self, folder: str | Path) -> Path:
        """Write ``encoder.json``, ``weights.safetensors`` and a model card into a new folder.

        Parts that are code of this session rather than of an installed plugin are kept as `torch.export` programs.

        Raises:
            OutputError: the folder exists and is not empty, or a part cannot be kept as a program.
        """
        folder = Path(folder)
        description = self.description(folder)
        with atomic_folder(folder) as part:
            description |= save_programs(self.spec, self.backbone, self.head, self.plugins, part)
            save_weights(self, part / "weights.safetensors")
            write_manifest(part / "encoder.json", description)
            write_text(part / "README.md", model_card(description))
        return folder

    def copy_to(self, folder: Path) -> None:
        """Store the encoder with an artifact that it made: copy the folder that it was loaded from, whose model card includes the
        evaluation, or save it if there is no such folder or the encoder has changed since."""
        if self.folder is not None and self._is_saved_in(self.folder):
            copy_encoder(self.folder, folder)
        elif not folder.exists():
            self.save(folder)

    def _is_saved_in(self, folder: Path) -> bool:
        if not (folder / "encoder.json").is_file():
            return False
        saved = read_description(folder)
        return bool(saved["digest"] == self.digest and saved | portable_record(self.record, folder) == saved)

    def description(self, folder: Path | None = None) -> dict[str, Any]:
        """Return the content of ``encoder.json``, in `folder` if it is given."""
        return {
            "format": FORMAT,
            "aekit": __version__,
            "digest": self.digest,
            "spec": self.spec.to_dict(),
            "architecture": self.architecture,
            "preprocess": self.preprocess.to_dict(),
            "plugins": [plugin.to_dict() for plugin in self.plugins],
            "check": check_values(self, self.spec, self.preprocess),
            **(self.record if folder is None else portable_record(self.record, folder)),
        }


def check_programs(encoder: Encoder) -> None:
    """Check, before training, that the parts that are code of this session can be saved.

    Raises:
        RecipeError: a part cannot be kept as a program.
    """
    if any(plugin.distribution == SESSION for plugin in encoder.plugins):
        with tempfile.TemporaryDirectory() as folder:
            try:
                save_programs(encoder.spec, encoder.backbone, encoder.head, encoder.plugins, Path(folder))
            except OutputError as error:
                raise RecipeError([f"{error}, or fit without a run folder"]) from error


def build_encoder(
    spec: SampleSpec,
    preprocess: Preprocess,
    architecture: dict[str, Any],
    *,
    seed: int,
    plugins: Sequence[Plugin] | None = None,
    head: nn.Module | None = None,
) -> Encoder:
    """Build an encoder with random weights from its architecture.

    Args:
        spec: spec of the raw samples.
        preprocess: its preprocessing; shared, not copied.
        architecture: ``{"backbone": {"name", "options"}, "head": {"variant", "options"} or None, "dim", "normalize"}``;
            a dim of 0: the code is the features; an optional ``"hidden"``: widths of dense layers above the backbone.
        seed: seed of the weights; the global random state is unchanged.
        plugins: as `Encoder.plugins`; default: looked up by the names in the architecture.
        head: a head; default: the one that the architecture names.

    Raises:
        RecipeError: the backbone or the head does not fit the samples.
    """
    plugins = required_plugins(architecture) if plugins is None else plugins
    with temporary_seed(seed):
        try:
            backbone = _build_backbone(spec, architecture, plugins[0])
            backbone.prepare(preprocess)
            if plugins[0].distribution != GROUP and not isinstance(backbone, ModuleBackbone):
                check_features(backbone, spec, str(plugins[0]))
        except ValueError as error:
            raise RecipeError([f"backbone {plugins[0].name!r} cannot take {spec}: {error}"]) from error
        if head is None:
            head = _build_head(architecture, plugins, backbone)
    return Encoder(spec, preprocess, backbone, head, architecture, plugins)


def required_plugins(architecture: dict[str, Any]) -> list[Plugin]:
    """Return the plugins whose code an architecture needs: the backbone, and the variant that provides the head, if any."""
    plugins = [registry().get("backbone", architecture["backbone"]["name"], required_by="encoder.backbone")]
    if architecture["head"]:
        plugins.append(registry().get("variant", architecture["head"]["variant"], required_by="encoder head"))
    return plugins


def _build_backbone(spec: SampleSpec, architecture: dict[str, Any], plugin: Plugin) -> Backbone:
    options = _options(plugin, architecture["backbone"]["options"], "encoder.backbone")
    trunk: Any = plugin.made(spec, **options)
    if not isinstance(trunk, nn.Module):
        raise ValueError(f"it returned {type(trunk).__name__}; expected an nn.Module")
    if not isinstance(trunk, Backbone):
        trunk = ModuleBackbone(trunk, spec)
    elif plugin.distribution != GROUP:
        check_attributes(trunk, str(plugin), signature_problem(type(trunk), Backbone))
    return BackboneWithDense(trunk, architecture["hidden"]) if architecture.get("hidden") else trunk


def _build_head(architecture: dict[str, Any], plugins: Sequence[Plugin], backbone: Backbone) -> nn.Module:
    dim = architecture["dim"]
    if not architecture["head"]:
        return nn.Linear(backbone.features_dim, dim) if dim else nn.Identity()
    options = _options(plugins[1], architecture["head"]["options"], f"variant {plugins[1].name}")
    try:
        head = plugins[1].made(**options).head(tuple(backbone.features_shape), dim or backbone.features_dim)
    except ValueError as error:
        raise RecipeError([f"variant {plugins[1].name!r}: {error}"]) from error
    if head is None:
        raise RecipeError([f"variant {plugins[1].name!r} should provide the head of the encoder, but returned None"])
    if not isinstance(head, nn.Module):
        raise PluginError(f"{plugins[1]}: head() returned {type(head).__name__}: expected an nn.Module")
    return head


def _options(plugin: Plugin, options: dict[str, Any], place: str) -> dict[str, Any]:
    """Validate options; a network with its weights has none."""
    return {} if getattr(plugin.load(), "keeps_weights", False) else validate_options(plugin, options, place)


_seeding = threading.RLock()


@contextmanager
def temporary_seed(seed: int) -> Iterator[None]:
    """Seed torch's global generator of the CPU, from which layers draw initial weights, and restore its state afterwards.

    Threads share the generator, and take turns. Those of GPUs stay as they are, which `torch.manual_seed` would seed too.
    """
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
