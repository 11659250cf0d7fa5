"""timm backbone: any network of timm, with its pretrained weights and preprocessing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from aekit.nn.pooling import Pool, Pooling
from aekit.nn.stages import Call, Plan, build_stages, disable_dropout, groups_by_name, plan_stages
from aekit.nn.upsampling import Upsampling
from aekit.objectives.patch_tokens import VisibleTokenEncoder
from aekit.plugin import (
    AekitError,
    Backbone,
    Field,
    Framing,
    Preprocess,
    RecipeError,
    SampleSpec,
    cached_repositories,
    closest_name,
    file_sha256,
    importing,
    load_error,
    per_channel,
    preprocessing_advice,
    read_weights,
    state_dict_differences,
)

Side = Annotated[int, Field(ge=8, le=4096)]
CropPct = Annotated[float, Field(gt=0, le=1)]
DEFAULT = "by default the network's"
MAX_SKETCHES = 8
"""Traced networks that are kept."""


class _Sketch(NamedTuple):
    """What a pass through a network without weights tells.

    Attributes:
        plan: steps of its stages.
        features_shape: shape of the output for a sample.
        patch: height and width of the patches that it can leave out; None: it has none.
        tokens_dim: width of their tokens.
        prefix: number of tokens that are no patches.
    """

    plan: Plan
    features_shape: tuple[int, ...]
    patch: tuple[int, ...] | None
    tokens_dim: int
    prefix: int


_SKETCHES: dict[tuple[Any, ...], _Sketch] = {}


class Timm(Backbone):
    """Apply a network of timm without its classifier, in stages as timm groups its weights.

    The first stage resizes, crops and normalizes samples in [0, 1] as the pretrained weights expect; the last stage ends with
    the pooling. A network that is not a sequence of parts is a single stage, and the note says so.

    Wightman, PyTorch image models, 2019.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        model: Annotated[str, Field(description="name in timm, e.g. resnet18 or resnet18.a1_in1k")] = "resnet18",
        layer: Annotated[
            int | None, Field(ge=1, description="number of stages to use, from the first; by default all")
        ] = None,
        pooling: Annotated[
            Literal["auto"] | Pooling,
            Field(description="pooling after the last stage; auto: the network's, or avg with layer"),
        ] = "auto",
        size: Annotated[
            Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None,
            Field(description=f"side or [height, width] of the network's input; {DEFAULT}"),
        ] = None,
        crop_pct: Annotated[
            CropPct | None, Field(description=f"fraction of the side that the center crop keeps; {DEFAULT}")
        ] = None,
        interpolation: Annotated[
            Literal["auto", "bicubic", "bilinear"], Field(description="interpolation; auto: the network's")
        ] = "auto",
        mean: Annotated[
            list[float] | None, Field(description=f"mean per channel, or of all, for samples in [0, 1]; {DEFAULT}")
        ] = None,
        std: Annotated[
            list[float] | None, Field(description=f"standard deviation per channel, or of all; {DEFAULT}")
        ] = None,
    ) -> None:
        super().__init__()
        spec.require("image")
        self.spec, self.model, self.layer, self.config = spec, model, layer, _config(model)
        self.size = (size, size) if isinstance(size, int) else tuple(size or self.config.input_size[1:])
        self.pooling = "avg" if pooling == "auto" and layer else pooling
        self.framing: dict[str, Any] = {
            "crop_pct": crop_pct or self.config.crop_pct,
            "squash": self.config.crop_mode == "squash",
            "kernel": self.config.interpolation if interpolation == "auto" else interpolation,
        }
        if any(values and len(values) not in (1, 3, spec.shape[0]) for values in (mean, std)):
            raise ValueError(
                f"mean = {mean}, std = {std}: expected one number, or one for each of {spec.shape[0]} channels"
            )
        self.normalization = [
            per_channel(values, spec.shape[0]) for values in (mean or self.config.mean, std or self.config.std)
        ]
        self.stages, self.features_shape = self._cut(self._network())
        self.features_dim = torch.Size(self.features_shape).numel()
        count = len(self.stages)
        stages = f"{count} stages" if count > 1 else "one stage, as its parts are not a sequence"
        self.note = "; ".join(
            filter(None, [f"{model}: {stages}", preprocessing_advice(spec, self.size, **self.framing)])
        )

    @classmethod
    def pretrained_at_hand(cls, spec: SampleSpec) -> list[dict[str, Any]]:
        """Return the networks whose weights are in the cache of the Hugging Face hub, from which timm loads them."""
        cached = set(cached_repositories())
        if not cached:
            return []
        timm = _timm()
        configs = {name: timm.models.get_pretrained_cfg(name) for name in timm.list_models(pretrained=True)}
        return [{"model": name} for name, config in configs.items() if config and config.hf_hub_id in cached]

    def load_pretrained(self, where: str, preprocess: Preprocess) -> dict[str, Any]:
        setting = f"encoder.weights = {where!r}"
        if not preprocess.unit:
            raise RecipeError([f"{setting}: {self.model} needs samples in [0, 1]; set encoder.scaling = 'unit'"])
        network = self._network()
        if where == "pretrained":
            try:
                weights = self._network(pretrained=True, num_classes=self.config.num_classes).state_dict()
            except Exception as error:  # anything that timm, the hub's client and the connection may raise
                raise RecipeError([f"{setting}: cannot load {self.model}: {load_error(error)}"]) from error
            origin: dict[str, Any] = {"hub": self.config.hf_hub_id or self.config.url}
        elif not Path(where).is_file():
            raise RecipeError(
                [f"{setting}: expected 'pretrained', a file of weights, or the folder of an aekit encoder"]
            )
        else:
            weights, part = read_weights(Path(where))
            weights = _adapted(weights, network, self.config, setting)
            origin = {"sha256": file_sha256(Path(where))} | ({"part": part} if part else {})
        with torch.device("meta"):  # the classifier is what the network lacks without classes
            classifier = self._network(num_classes=2).state_dict().keys() - network.state_dict().keys()
        kept = {name: tensor for name, tensor in weights.items() if name not in classifier}
        if problems := state_dict_differences(network.state_dict(), kept):
            raise RecipeError([f"{setting}, for {self.model}: {problem}" for problem in problems])
        network.load_state_dict(kept)
        self.stages.load_state_dict(self._cut(network)[0].state_dict())
        return origin | ({"left out": sorted(set(weights) - set(kept))} if len(kept) < len(weights) else {})

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        if expand is None:
            return Upsampling((dim,), self.spec.shape)
        return nn.Sequential(expand, Upsampling(self.features_shape, self.spec.shape))

    def _network(self, **options: Any) -> nn.Module:
        arguments: dict[str, Any] = {"num_classes": 0, "in_chans": self.spec.shape[0]}
        if self.config.fixed_input_size:
            arguments["img_size"] = self.size
        return disable_dropout(_timm().create_model(self.model, **arguments | options))

    def _cut(self, network: nn.Module) -> tuple[nn.ModuleList, tuple[int, ...]]:
        """Return the network's stages and the shape of their output."""
        sketch = self._sketch()
        first, *others = self._built(network.to(memory_format=torch.channels_last), sketch.plan)
        if sketch.patch is not None:
            self.patch, self.tokens_dim, self.prefix = sketch.patch, sketch.tokens_dim, sketch.prefix
        framing = Framing(self.spec.shape[1:], self.size, *self.normalization, **self.framing)  # type: ignore[arg-type]
        return nn.ModuleList([nn.Sequential(framing, first), *others]), sketch.features_shape

    def _sketch(self) -> _Sketch:
        """Trace the network without computing anything; an evaluation builds the same one up to four times."""
        entrypoint = _timm().models.model_entrypoint(self.model)
        key = (entrypoint, self.model, self.spec.shape, self.size, self.layer, self.pooling)
        if key not in _SKETCHES:
            if len(_SKETCHES) >= MAX_SKETCHES:
                _SKETCHES.clear()
            try:
                with torch.device("meta"):
                    _SKETCHES[key] = self._traced(self._network().eval())
            except AekitError:
                raise
            except Exception as error:  # sizes that it does not support, or anything else that its code may raise
                size = "x".join(map(str, self.size))
                raise ValueError(f"{self.model}: cannot be built for images of {size}: {load_error(error)}") from error
        return _SKETCHES[key]

    def _traced(self, network: Any) -> _Sketch:
        x = torch.zeros(2, self.spec.shape[0], *self.size)
        plan = self._plan(network, x)
        stages = self._built(network, plan)
        for stage in stages:
            x = stage(x)
        return _Sketch(plan, tuple(x.shape[1:]), *self._patches(network, stages, x))

    def _patches(
        self, network: Any, stages: list[nn.Module], features: Tensor
    ) -> tuple[tuple[int, ...] | None, int, int]:
        """Return the size of a patch, the width of a token and the number of other tokens, if the network can leave patches out,
        as masked modeling with transformers needs; else None."""
        if self.spec.shape[1:] != self.size:
            return None, 0, 0  # with resizing, a patch of the network's input is not a patch of the sample
        try:
            tokens, pooled = _token_pass(stages, network.num_prefix_tokens)(
                torch.zeros(2, self.spec.shape[0], *self.size), torch.zeros(2, 1, dtype=torch.int64)
            )
        except (AttributeError, ValueError, RuntimeError, TypeError):
            return None, 0, 0  # has no patches, or needs all of them
        if pooled.shape != features.flatten(1).shape:
            return None, 0, 0
        return tuple(network.patch_embed.patch_size), tokens.shape[2], int(network.num_prefix_tokens)

    def encode_visible(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        return _token_pass(self.stages, self.prefix)(x, places)

    def _plan(self, sketch: Any, x: Tensor) -> Plan:
        """Return the steps of each stage that is used."""
        plan = plan_stages(
            sketch,
            lambda x: sketch.forward_head(sketch.forward_features(x), pre_logits=True),
            x,
            groups=_groups(sketch),
            candidates=[
                [name for name in ("_pos_embed", "forward_head") if hasattr(sketch, name)],
                ["forward_features", "forward_head"],
            ],
            extra_args=[] if getattr(sketch, "rope_mixed", False) else ["rope"],
            skip=[] if self.pooling == "auto" else ["forward_head"],
        )
        if self.layer and self.layer > (count := len(plan.stages)):
            raise RecipeError(
                [f"encoder.timm.layer = {self.layer}: expected 1 to {count}, the number of stages of {self.model}"]
            )
        return plan.first(self.layer)

    def _built(self, network: Any, plan: Plan) -> list[nn.Module]:
        def adapted(step: Call) -> nn.Module | None:
            if step.kwargs.get("rope") is None:
                return None
            return _RotaryBlock(network, step, network.patch_embed.dynamic_feat_size(self.size))

        stages = build_stages(network, plan, adapted)
        if self.pooling != "auto":
            prefix = getattr(network, "num_prefix_tokens", 0)
            if self.pooling == "token" and not prefix:
                raise RecipeError([f"encoder.timm.pooling = 'token': {self.model} has no class token; use 'avg'"])
            channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
            stages[-1] = nn.Sequential(stages[-1], Pool(self.pooling, channels_last=channels_last, prefix=prefix))
        return stages


def _token_pass(stages: Iterable[nn.Module], prefix: int) -> VisibleTokenEncoder:
    return VisibleTokenEncoder(stages, lambda step: getattr(step, "name", "") == "_pos_embed", prefix)


class _RotaryBlock(nn.Module):
    """Block with rotary position embeddings, which are computed from the network alone."""

    def __init__(self, network: Any, step: Call, grid: tuple[int, int]) -> None:
        super().__init__()
        self.block, self.kwargs = network.get_submodule(step.name), dict(step.kwargs)
        self._rope = (network.rope,)  # in a tuple, as the first stage owns it
        self.grid = None if getattr(network.rope, "feat_shape", None) else grid

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, C) -> (B, N, C)."""
        return self.block(x, **self.kwargs | {"rope": self._rope[0].get_embed(shape=self.grid)})


def _timm() -> ModuleType:
    with importing("backbone 'timm' needs the package timm", "pip install timm torchvision", AekitError):
        import timm
    return timm


def _config(model: str) -> Any:
    """Return timm's configuration of a network and its pretrained weights."""
    timm = _timm()
    names = {*timm.list_models(), *timm.list_models(pretrained=True)}
    if model not in names:
        raise RecipeError(
            [f"encoder.timm.model = {model!r}: no such network in timm {timm.__version__}{closest_name(model, names)}"]
        )
    return timm.models.get_pretrained_cfg(model)


def _groups(network: Any) -> dict[str, int]:
    """Return the stage of each weight by name, as timm groups them, or by name where it does not."""
    from timm.models import group_parameters

    try:
        return group_parameters(network, network.group_matcher(coarse=True), reverse=True)
    except (AttributeError, AssertionError):
        return groups_by_name([name for name, _ in network.named_parameters()])


def _adapted(weights: dict[str, Tensor], network: nn.Module, config: Any, setting: str) -> dict[str, Tensor]:
    """Rename published weights to timm's names where timm knows how, and adapt them to the network's channels."""
    from timm.models import adapt_input_conv

    try:
        renamed = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", lambda weights, _: weights)
        weights = dict(renamed(dict(weights), network))
    except Exception as error:  # timm assumes that the weights belong to this network
        raise RecipeError(
            [f"{setting}: not weights of {config.architecture}: {type(error).__name__}: {load_error(error)}"]
        ) from error
    expected = network.state_dict()
    first_layers = config.first_conv if isinstance(config.first_conv, tuple) else (config.first_conv,)
    for name in (f"{first}.weight" for first in first_layers):
        if name in weights and weights[name].shape[1:2] != expected[name].shape[1:2]:
            weights[name] = adapt_input_conv(expected[name].shape[1], weights[name])
    return weights
