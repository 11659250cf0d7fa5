"""Open frozen pretrained networks by name: the networks that evaluations compare with, and the teachers of distillation.

A name is the folder of an aekit encoder or run, or ``BACKBONE:MODEL``, such as ``timm:resnet18.a1_in1k``, for the weights that
the backbone knows; ``BACKBONE:MODEL@FILE`` loads them from a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from aekit.data.spec import SampleSpec
from aekit.encoder.encoder import Encoder, build_encoder
from aekit.encoder.loading import load
from aekit.encoder.preprocessing import Preprocess
from aekit.encoder.stored_scaling import value_range
from aekit.errors import RecipeError
from aekit.registry.discovery import Plugin, registry
from aekit.registry.options import model_of_plugin

NONE, AUTO = "none", "auto"
VARIABLE = "AEKIT_PRETRAINED"
"""Environment variable with the name that ``auto`` stands for."""
_EXPECTED = (
    "the folder of an aekit encoder, or BACKBONE:MODEL such as timm:resnet18.a1_in1k, with @FILE for its weights"
)


def pretrained_name(name: str) -> str:
    """Resolve ``auto`` to the name of a network: ``$AEKIT_PRETRAINED``, else the first network at hand, else ``none``."""
    if name != AUTO:
        return name
    return os.environ.get(VARIABLE) or next(iter(networks_at_hand()), NONE)


def networks_at_hand() -> list[str]:
    """Return the names of pretrained networks of timm whose weights are on this machine.

    They are files of weights in ``$AEKIT_DATA/weights``, each beside a ``.json`` file of the same name that holds the name of
    its network as ``timm_architecture``, and then the networks in the cache of the Hugging Face hub, as timm keeps them.
    """
    described = [f"timm:{model}@{path}" for model, path in _described_weights()]
    owned = [name.partition("/") for name in cached_repositories()]
    return described + [f"timm:{model}" for owner, _, model in owned if owner == "timm"]


def cached_repositories() -> list[str]:
    """Return the names of the models in the cache of the Hugging Face hub whose weights are complete there, as safetensors."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:  # then there is no cache either
        return []
    folders = sorted(Path(HF_HUB_CACHE).glob("models--*--*"))
    complete = [folder.name for folder in folders if any(folder.glob("snapshots/*/*.safetensors"))]
    return [name.removeprefix("models--").replace("--", "/", 1) for name in complete]


def open_pretrained(
    name: str, spec: SampleSpec, preprocess: Preprocess, *, place: str, size: int | None = None
) -> Encoder:
    """Open a frozen network that takes the same raw samples as an encoder, and returns its features.

    Args:
        name: name of the network; see this module.
        spec: spec of the raw samples.
        preprocess: preprocessing of the encoder that it is compared with, or that learns from it.
        place: what names it, such as ``--pretrained``, for messages.
        size: side that samples are resized to for a network of a backbone; by default what its weights expect.

    Returns:
        the network, in eval mode and without gradients. Its ``record["weights"]`` says where its weights came from.

    Raises:
        RecipeError: there is no such network, its weights are not available, or it does not take these samples.
        DataError, IdentityError, PluginError: as `aekit.load`, for the folder of an encoder.
    """
    backbone, separator, model = name.partition(":")
    if Path(name).is_dir():
        network = load(name)
        if (network.spec.shape, network.spec.dtype) != (spec.shape, spec.dtype):
            raise RecipeError([f"{place} = {name!r}: takes {network.spec}, but the data is {spec}"])
        network.record = {"weights": {"from": Path(name).name, "digest": network.digest}}
    elif not separator or not model or "/" in backbone:
        raise RecipeError([f"{place} = {name!r}: expected {_EXPECTED}"])
    else:
        try:
            plugin = registry().get("backbone", backbone, required_by=f"{place} = {name!r}")
            network = _from_backbone(plugin, model, spec, preprocess, size)
        except RecipeError as error:
            raise RecipeError([f"{place} = {name!r}: {problem}" for problem in error.problems]) from None
    return network.to(preprocess.scale.device).eval().requires_grad_(False)


def describe_pretrained(network: Encoder) -> str:
    """Return which network it is and where its weights came from, such as ``timm:resnet18 (resnet18.safetensors)``."""
    options, weights = network.architecture["backbone"]["options"], network.record["weights"]
    if "digest" in weights:
        return f"encoder {weights['digest'][:12]} ({weights['from']})"
    return f"{network.plugins[0].name}:{options['model']} ({weights.get('hub', weights['from'])})"


def short_name(network: Encoder) -> str:
    """Return its name in tables: that of the model, or of an aekit encoder the first digits of its digest."""
    digest = network.record["weights"].get("digest")
    return f"encoder {digest[:12]}" if digest else str(network.architecture["backbone"]["options"]["model"])


def _from_backbone(plugin: Plugin, model: str, spec: SampleSpec, preprocess: Preprocess, size: int | None) -> Encoder:
    """Build a backbone with pretrained weights. Samples that it resizes are resized whole, as they are no larger scenes."""
    model, _, file = model.partition("@")
    known = model_of_plugin(plugin).model_fields
    if "model" not in known:
        raise RecipeError([f"backbone {plugin.name!r} has no pretrained networks; expected {_EXPECTED}"])
    options: dict[str, Any] = {"model": model} | {
        name: value for name, value in {"crop_pct": 1.0, "size": size}.items() if name in known and value is not None
    }
    architecture = {"backbone": {"name": plugin.name, "options": options}, "head": None, "dim": 0, "normalize": False}
    network = build_encoder(spec, _in_unit_range(spec, preprocess), architecture, seed=0)
    file = os.path.expanduser(file)
    if file and not Path(file).is_file():
        raise RecipeError([f"{file}: no such file of weights"])
    where = file or next((str(path) for name, path in _described_weights() if name == model), "pretrained")
    try:
        origin = network.backbone.load_pretrained(where, network.preprocess)
    except NotImplementedError as error:
        raise RecipeError([str(error)]) from None
    network.record = {"weights": {"from": Path(where).name, **origin}}
    return network


def _in_unit_range(spec: SampleSpec, preprocess: Preprocess) -> Preprocess:
    """Return the preprocessing to [0, 1] that pretrained networks expect."""
    low, high = value_range(spec, preprocess)
    ones = torch.ones_like(preprocess.scale)
    scale = 1 / max(high - low, 1e-12)
    return Preprocess("unit", True, scale * ones, -low * scale * ones, 0 * ones, ones)


def _described_weights() -> Iterator[tuple[str, Path]]:
    """Yield the network and the path of each file of weights in ``$AEKIT_DATA/weights``."""
    folder = os.environ.get("AEKIT_DATA")
    for description in sorted(Path(folder, "weights").glob("*.json")) if folder else []:
        try:
            model = json.loads(description.read_text("utf-8"))["timm_architecture"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # describes something else
        weights = description.with_suffix(".safetensors")
        if isinstance(model, str) and weights.is_file():
            yield model, weights
