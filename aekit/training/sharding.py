"""Share the layers of a backbone among processes, each of which keeps a part of their matrices (PyTorch's FSDP2).

The whole matrices of a layer are gathered for its forward and its backward pass alone. Vectors, such as biases and the weights of
norms, and what lies above the backbone are small: each process has all of them.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Backbone
from aekit.encoder.preprocessing import Preprocess
from aekit.errors import RecipeError
from aekit.io.processes import Ranks, is_part, local_part, lost
from aekit.objectives.base import Objective
from aekit.objectives.patch_tokens import layers_of
from aekit.registry.discovery import registry
from aekit.training._partial_memory import PartialMemory
from aekit.training.build import make_objective
from aekit.training.recipe import Recipe
from aekit.training.settings import Settings, uses_bf16


@dataclass(frozen=True)
class SharedBackbone:
    """A backbone whose matrices are shared, and what it was before.

    Attributes:
        backbone: the backbone.
        modules: its modules, each with its class and the hooks that it had, by the name of their attribute.
        strides: layouts in memory of its weights, by name.
    """

    backbone: Backbone
    modules: list[tuple[nn.Module, type[nn.Module], dict[str, Any]]]
    strides: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, backbone: Backbone) -> SharedBackbone:
        """Note what a backbone is before it is shared."""
        modules = [(module, type(module), _hooks_of(module)) for module in backbone.modules()]
        return cls(backbone, modules, {name: weight.stride() for name, weight in backbone.named_parameters()})

    @torch.no_grad()
    def unshare(self, ranks: Ranks | None) -> None:
        """Give the first process the whole weights, on the CPU, and the others none: theirs have shapes alone.

        Called by all processes alike, after training.
        """
        for name, parameter in list(self.backbone.named_parameters()):
            if is_part(parameter):
                place, _, key = name.rpartition(".")
                whole = gathered(parameter)
                device = "cpu" if ranks is None or ranks.is_first else "meta"
                values = torch.empty_strided(whole.shape, self.strides[name], dtype=whole.dtype, device=device)
                values = nn.Parameter(values.copy_(whole), parameter.requires_grad)
                self.backbone.get_submodule(place)._parameters[key] = values
        for module, kind, hooks in self.modules:
            module.__dict__.update(hooks)
            module.__class__ = kind
            for name in [name for name in module.__dict__ if "fsdp" in name or "composable_api" in name]:
                del module.__dict__[name]


def _hooks_of(module: nn.Module) -> dict[str, Any]:
    return {name: value.copy() for name, value in module.__dict__.items() if "_hooks" in name and value is not None}


def build_objective(
    recipe: Recipe,
    spec: SampleSpec,
    preprocess: Preprocess,
    ranks: Ranks | None,
    device: torch.device,
    say: Callable[[str], None],
) -> tuple[Objective, list[SharedBackbone]]:
    """Build the objective of a recipe on a device, with layers that processes share if the recipe asks for it.

    Args:
        recipe: the recipe.
        spec: spec of the samples.
        preprocess: their preprocessing.
        ranks: the processes.
        device: where the weights go; shared ones one layer after the other, and only in part.
        say: receives a line if there is nobody to share them with.

    Returns:
        the objective, and what is shared of it, to be unshared after training.

    Raises:
        RecipeError: options do not fit the data or each other, or something needs whole weights.
    """
    if recipe.train.sharding == "none" or ranks is None:
        if recipe.train.sharding != "none":
            say("train.sharding: a single process has all weights")
        return make_objective(recipe, spec, preprocess.to(device)).to(device), []
    _check_recipe(recipe)
    _return_freed_memory()
    memory = PartialMemory(ranks)
    with memory.building():
        objective = make_objective(recipe, spec, preprocess)
    tied = objective.encoder.backbone.tied
    _refuse({"the decoder uses the weights of the backbone (tied); train its own": tied})
    objective.encoder.frozen_params = []  # those of low-rank updates would be kept in whole
    shared = _share(objective, memory, ranks, device, bf16=uses_bf16(recipe.train, spec, device))
    memory.restore_all()
    for tensor in (*objective.parameters(), *objective.buffers()):
        if not is_part(tensor):
            tensor.data = tensor.data.to(device)
    return objective, shared


def _return_freed_memory() -> None:
    """Let glibc return the memory of layers to the system; it would keep 32 MiB and less, in pieces that fit nothing else."""
    if sys.platform == "linux":
        resize = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
        if resize:
            resize(M_MMAP_THRESHOLD, 2**20)


M_MMAP_THRESHOLD = -3
"""Parameter of ``mallopt``: the smallest memory that is returned."""


def refuse_sharding(settings: Settings) -> None:
    """Check that settings of fine-tuning, in which processes share no weights, do not ask for it.

    Raises:
        RecipeError: they do.
    """
    if settings.sharding != "none":
        raise RecipeError([f"train.sharding = {settings.sharding!r}: fine-tuning shares no weights; set it to 'none'"])


def _check_recipe(recipe: Recipe) -> None:
    layerwise = recipe.layerwise
    tables = any(table.get("epochs") for table in layerwise.layers)
    parts = {"variant": recipe.objective.variants, "pretext": recipe.objective.pretexts}
    plugins = [registry().get(kind, name) for kind, names in parts.items() for name in names]
    whole = [plugin.name for plugin in plugins if getattr(plugin.load(), "needs_whole_weights", False)]
    _refuse(
        {
            "the lowest layers are frozen; set encoder.frozen = 0": bool(recipe.encoder.frozen),
            "layers are trained one by one; set layerwise.epochs = 0": bool(layerwise.epochs or tables),
            "train.optimizer = 'lbfgs' needs whole weights; use 'adamw'": recipe.train.optimizer == "lbfgs",
            "nothing is trained (train.epochs = 0); set it to 'none'": not recipe.trains,
            f"{' and '.join(whole)} needs whole weights; use another objective, or 'none'": bool(whole),
        }
    )


def _refuse(problems: dict[str, bool]) -> None:
    for problem, applies in problems.items():
        if applies:
            raise RecipeError([f"train.sharding = 'full': {problem}"])


def _share(
    objective: Objective, memory: PartialMemory, ranks: Ranks, device: torch.device, *, bf16: bool
) -> list[SharedBackbone]:
    """Share the backbones of an objective: that of its encoder, and those of teachers that follow it."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # As autocast, which would keep a whole copy of each matrix in bfloat16 from the forward to the backward pass.
    precision = torch.bfloat16 if bf16 else None
    policy = MixedPrecisionPolicy(precision, reduce_dtype=torch.float32, cast_forward_inputs=False)
    mesh = init_device_mesh(device.type, (ranks.size,))
    backbones = [module for module in objective.modules() if isinstance(module, Backbone)]
    options: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True, "mp_policy": policy}
    shared = [SharedBackbone.of(backbone) for backbone in backbones]
    for backbone in backbones:
        layers = [layer for stage in backbone.stages for layer in layers_of(stage)]
        uses = Counter(id(weight) for layer in layers for weight in layer.parameters())
        everywhere = {weight for weight in backbone.parameters() if weight.ndim < 2 or uses[id(weight)] != 1}
        for layer in layers:
            if not set(layer.parameters()) - everywhere:
                continue
            memory.restore([*layer.parameters(), *layer.buffers()])
            for weight in layer.parameters():  # rows are divided as they lie in memory
                weight.data = weight.data.contiguous()
            layer.register_forward_hook(_own_memory)
            part = fully_shard(layer, **options, ignored_params=everywhere)
            # Losses are weighted by the shares of the batch, so that gradients add up. Gloo knows no other sum.
            part.set_force_sum_reduction_for_comms(True)
            part.set_gradient_divide_factor(1.0)
        backbone.register_forward_hook(_own_memory)
        # The backbone has no further weights to share, but lets its layers use the same memory, one after the other.
        whole = fully_shard(backbone, **options, ignored_params=set(backbone.parameters()))
        whole._get_fsdp_state()._lazy_init()  # or a layer that is called alone would count as a network of its own
    return shared


def _own_memory(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Return an output in memory of its own, as FSDP2 asks for: changed in place, a view would lose its hook."""
    return output.clone() if isinstance(output, Tensor) and output._is_view() else output


def training_precision(objective: Objective, settings: Settings) -> AbstractContextManager[Any]:
    """Return a context in which an objective with shared weights computes as in a training step."""
    encoder = objective.encoder
    in_bf16 = is_sharded(objective) and uses_bf16(settings, encoder.spec, encoder.device)
    return torch.autocast(encoder.device.type, torch.bfloat16, enabled=in_bf16)


@contextmanager
def explained_sharding(recipe: Recipe) -> Iterator[None]:
    """Turn what PyTorch raises within the context, where an objective needs weights that processes share, into a line.

    Raises:
        RecipeError: it uses weights outside of their layer, or second derivatives through it.
        LostError: another process has ended.
    """
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if recipe.train.sharding != "none" and any(sign in str(error) for sign in ("gloo", "NCCL")):
            raise lost(error) from error
        # The last is what oneDNN says of weights that are not there; it says the same where memory is short.
        signs = ("DTensor", "storage of size 0", "a primitive")
        if recipe.train.sharding == "none" or not any(sign in str(error) for sign in signs):
            raise
        reason = "the objective uses weights of the backbone outside of its layers, or second derivatives"
        reason += " (or memory is short)" if signs[2] in str(error) else ""
        raise RecipeError(
            [f"train.sharding = 'full': {reason}, which shared weights do not allow; set it to 'none'"]
        ) from error


def is_sharded(objective: Objective) -> bool:
    """Return whether processes share weights of an objective."""
    return any(is_part(parameter) for parameter in objective.parameters())


def gathered(tensor: Tensor) -> Tensor:
    """Return a tensor in whole, on the CPU if it was shared; called by all processes alike."""
    return tensor.full_tensor().cpu() if is_part(tensor) else tensor  # type: ignore[attr-defined]


def shared_like(local: Any, parameter: Tensor) -> Any:
    """Return an entry of an optimizer's state as a tensor that is shared as its parameter is, given the part of this process."""
    if not is_part(parameter) or not isinstance(local, Tensor) or not local.ndim or is_part(local):
        return local
    from torch.distributed.tensor import DTensor

    part: Any = parameter
    return DTensor.from_local(
        local, part.device_mesh, part.placements, run_check=False, shape=part.shape, stride=part.stride()
    )


def shared_as(whole: Any, parameter: Tensor | None) -> Any:
    """Return a tensor shared as a parameter is, given the whole of it; anything else as it is."""
    if parameter is None or not is_part(parameter) or whole.shape != parameter.shape:
        return whole
    part: Any = parameter
    rows = whole.split(-(-len(whole) // part.device_mesh.size()))  # as FSDP2 divides the first axis
    rank = part.device_mesh.get_local_rank()
    mine = rows[rank] if rank < len(rows) else whole[:0]
    return shared_like(mine.to(part.device, copy=True), part)


def _norm(tensors: Iterable[Tensor], ranks: Ranks) -> Tensor:
    """Return the Euclidean norm of tensors, some of which are shared."""
    several = list(tensors)
    divided = [local_part(t).detach().double().square().sum() for t in several if is_part(t)]
    everywhere = [t.detach().double().square().sum() for t in several if not is_part(t)]
    total = ranks.add(torch.stack(divided).sum()) if divided else torch.zeros((), dtype=torch.float64)
    return (total + (torch.stack(everywhere).sum() if everywhere else 0)).sqrt()


def clip_gradients(parameters: Iterable[nn.Parameter], most: float, ranks: Ranks) -> None:
    """Scale gradients, some of which are shared, down to a norm of at most `most`, as torch does."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    factor = (most / (_norm(gradients, ranks) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        local_part(gradient).mul_(factor.to(gradient.dtype))
