"""Any network of timm, with the weights and the preprocessing that it was trained with."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

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
    closest_name,
    file_sha256,
    load_error,
    per_channel,
    preprocessing_advice,
    read_weights,
    state_dict_differences,
)

Side = Annotated[int, Field(ge=8, le=4096)]
Kept = Annotated[float, Field(gt=0, le=1)]
OWN = "by default the network's own"


class Timm(Backbone):
    """A network of timm (Wightman, PyTorch image models, 2019) without its classifier, in stages as timm groups its weights.

    The first stage resizes, crops and normalizes samples in [0, 1] as the pretrained weights want it; the last one ends with
    the pooling. A network whose parts do not simply follow one another is a single stage, and says so.
    """

    def __init__(
        self,
        spec: SampleSpec,
        *,
        model: Annotated[str, Field(description="of timm: resnet18, or resnet18.a1_in1k")] = "resnet18",
        layer: Annotated[int | None, Field(ge=1, description="how many of its stages, from the first; or all")] = None,
        pooling: Annotated[
            Literal["auto"] | Pooling,
            Field(description="of the last stage; auto: the network's own, or avg with layer"),
        ] = "auto",
        size: Annotated[
            Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None,
            Field(description=f"one side or [height, width] of what the network sees; {OWN}"),
        ] = None,
        crop: Annotated[Kept | None, Field(description=f"share that is kept of samples of another size; {OWN}")] = None,
        interpolation: Annotated[Literal["auto", "bicubic", "bilinear"], Field(description="auto: its own")] = "auto",
        mean: Annotated[list[float] | None, Field(description=f"of each channel in [0, 1], or of all; {OWN}")] = None,
        std: Annotated[list[float] | None, Field(description=f"of each channel in [0, 1], or of all; {OWN}")] = None,
    ) -> None:
        super().__init__()
        if not spec.is_image:
            raise ValueError(f"expected images (C, H, W), found {spec.kind}")
        self.spec, self.model, self.layer, self.config = spec, model, layer, _config(model)
        self.size = (size, size) if isinstance(size, int) else tuple(size or self.config.input_size[1:])
        self.pooling = "avg" if pooling == "auto" and layer else pooling
        self.frame: dict[str, Any] = {
            "crop_pct": crop or self.config.crop_pct,
            "squash": self.config.crop_mode == "squash",
            "kernel": self.config.interpolation if interpolation == "auto" else interpolation,
        }
        if any(values and len(values) not in (1, 3, spec.shape[0]) for values in (mean, std)):
            raise ValueError(
                f"mean = {mean}, std = {std}: expected a number for each of {spec.shape[0]} channels, or one"
            )
        self.normal = [
            per_channel(values, spec.shape[0]) for values in (mean or self.config.mean, std or self.config.std)
        ]
        self.stages, self.features_shape = self._cut(self._network())
        self.features_dim = torch.Size(self.features_shape).numel()
        count = len(self.stages)
        stages = f"{count} stages" if count > 1 else "one stage, as its parts do not simply follow one another"
        self.note = "; ".join(filter(None, [f"{model}: {stages}", preprocessing_advice(spec, self.size, **self.frame)]))

    def load_pretrained(self, where: str, preprocess: Preprocess) -> dict[str, Any]:
        place = f"encoder.weights = {where!r}"
        if not preprocess.unit:
            raise RecipeError([f"{place}: {self.model} wants samples in [0, 1]; set encoder.scaling = 'unit'"])
        network = self._network()
        if where == "pretrained":
            try:
                weights = self._network(pretrained=True, num_classes=self.config.num_classes).state_dict()
            except Exception as error:  # whatever timm, the hub's client and the network between have to say
                raise RecipeError([f"{place}: {self.model} cannot be had: {load_error(error)}"]) from error
            found: dict[str, Any] = {"hub": self.config.hf_hub_id or self.config.url}
        elif not Path(where).is_file():
            raise RecipeError([f"{place}: expected 'pretrained', a file of weights, or the folder of an aekit encoder"])
        else:
            weights, part = read_weights(Path(where))
            weights = _adapted(weights, network, self.config, place)
            found = {"sha256": file_sha256(Path(where))} | ({"part": part} if part else {})
        with torch.device("meta"):  # the classifier is what a network without classes lacks
            head = self._network(num_classes=2).state_dict().keys() - network.state_dict().keys()
        own = {name: tensor for name, tensor in weights.items() if name not in head}
        if problems := state_dict_differences(network.state_dict(), own):
            raise RecipeError([f"{place}, for {self.model}: {problem}" for problem in problems])
        network.load_state_dict(own)
        self.stages.load_state_dict(self._cut(network)[0].state_dict())
        return found | ({"left out": sorted(set(weights) - set(own))} if len(own) < len(weights) else {})

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        if expand is None:
            return Upsampling((dim,), self.spec.shape)
        return nn.Sequential(expand, Upsampling(self.features_shape, self.spec.shape))

    def _network(self, **more: Any) -> nn.Module:
        building: dict[str, Any] = {"num_classes": 0, "in_chans": self.spec.shape[0]}
        if self.config.fixed_input_size:
            building["img_size"] = self.size
        return disable_dropout(_timm().create_model(self.model, **building | more))

    def _cut(self, network: nn.Module) -> tuple[nn.ModuleList, tuple[int, ...]]:
        """The network's stages, and the shape of what they give."""
        try:
            with torch.device("meta"):  # where nothing is computed, but every step is seen
                sketch, x = self._network().eval(), torch.zeros(2, self.spec.shape[0], *self.size)
                plan = self._plan(sketch, x)
                drawn = self._built(sketch, plan)
                for stage in drawn:
                    x = stage(x)
                self._see_patches(sketch, drawn, x)
        except AekitError:
            raise
        except Exception as error:  # sizes that it was not made for, and whatever else its code stumbles over
            size = "x".join(map(str, self.size))
            raise ValueError(f"{self.model} cannot be used on images of {size}: {load_error(error)}") from error
        first, *rest = self._built(network.to(memory_format=torch.channels_last), plan)
        framing = Framing(self.spec.shape[1:], self.size, *self.normal, **self.frame)  # type: ignore[arg-type]
        return nn.ModuleList([nn.Sequential(framing, first), *rest]), tuple(x.shape[1:])

    def _see_patches(self, sketch: Any, stages: list[nn.Module], features: Tensor) -> None:
        """Tries whether the network can leave patches out, and so be trained by masked modeling as transformers are."""
        if self.spec.shape[1:] != self.size:
            return  # resized, a patch of what it sees is no patch of the sample
        try:
            tokens, pooled = _token_pass(stages, sketch.num_prefix_tokens)(
                torch.zeros(2, self.spec.shape[0], *self.size), torch.zeros(2, 1, dtype=torch.int64)
            )
        except (AttributeError, ValueError, RuntimeError, TypeError):
            return  # not made of patches, or of patches that have to be all there
        if pooled.shape == features.flatten(1).shape:
            self.patch, self.tokens_dim = tuple(sketch.patch_embed.patch_size), tokens.shape[2]
            self.prefix = int(sketch.num_prefix_tokens)

    def encode_visible(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        return _token_pass(self.stages, self.prefix)(x, places)

    def _plan(self, sketch: Any, x: Tensor) -> Plan:
        """The steps of each stage that is used."""
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
            raise RecipeError([f"encoder.timm.layer = {self.layer}: expected 1 to {count}, the stages of {self.model}"])
        return plan.first(self.layer)

    def _built(self, network: Any, plan: Plan) -> list[nn.Module]:
        def adapted(step: Call) -> nn.Module | None:
            turned = step.kwargs.get("rope") is not None
            return _Turned(network, step, network.patch_embed.dynamic_feat_size(self.size)) if turned else None

        stages = build_stages(network, plan, adapted)
        if self.pooling != "auto":
            prefix = getattr(network, "num_prefix_tokens", 0)
            if self.pooling == "token" and not prefix:
                raise RecipeError(
                    [f"encoder.timm.pooling = 'token': {self.model} has no token for the whole; use 'avg'"]
                )
            channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
            stages[-1] = nn.Sequential(stages[-1], Pool(self.pooling, channels_last=channels_last, prefix=prefix))
        return stages


def _token_pass(stages: Iterable[nn.Module], prefix: int) -> VisibleTokenEncoder:
    return VisibleTokenEncoder(stages, lambda step: getattr(step, "name", "") == "_pos_embed", prefix)


class _Turned(nn.Module):
    """A block whose attention turns its queries by the place that they come from, which depends on the network alone."""

    def __init__(self, network: Any, step: Call, grid: tuple[int, int]) -> None:
        super().__init__()
        self.block, self.named = network.get_submodule(step.name), dict(step.kwargs)
        self._rope = (network.rope,)  # in a tuple, as the first stage holds it
        self.grid = None if getattr(network.rope, "feat_shape", None) else grid

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.block(x, **self.named | {"rope": self._rope[0].get_embed(shape=self.grid)})


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise AekitError(
            f"the backbone 'timm' needs the package timm, which fails to import ({error}): pip install timm torchvision"
        ) from error
    return timm


def _config(model: str) -> Any:
    """What timm knows of a network and its pretrained weights."""
    timm = _timm()
    known = {*timm.list_models(), *timm.list_models(pretrained=True)}
    if model not in known:
        raise RecipeError(
            [f"encoder.timm.model = {model!r}: timm {timm.__version__} has no such network{closest_name(model, known)}"]
        )
    return timm.models.get_pretrained_cfg(model)


def _groups(network: Any) -> dict[str, int]:
    """Name of each weight -> its stage, as timm groups them where it does."""
    from timm.models import group_parameters

    try:
        return group_parameters(network, network.group_matcher(coarse=True), reverse=True)
    except (AttributeError, AssertionError):
        return groups_by_name([name for name, _ in network.named_parameters()])


def _adapted(weights: dict[str, Tensor], network: nn.Module, config: Any, place: str) -> dict[str, Tensor]:
    """Under timm's names, where timm knows how to rename what others published, and for the network's channels."""
    from timm.models import adapt_input_conv

    try:
        renamed = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", lambda weights, _: weights)
        weights = dict(renamed(dict(weights), network))
    except Exception as error:  # it takes for granted that the weights are of this network
        raise RecipeError(
            [f"{place}: is not of {config.architecture}: {type(error).__name__}: {load_error(error)}"]
        ) from error
    own = network.state_dict()
    firsts = config.first_conv if isinstance(config.first_conv, tuple) else (config.first_conv,)
    for name in (f"{first}.weight" for first in firsts):
        if name in weights and weights[name].shape[1:2] != own[name].shape[1:2]:
            weights[name] = adapt_input_conv(own[name].shape[1], weights[name])
    return weights
