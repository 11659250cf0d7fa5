"""Keep networks as `torch.export` programs, and load these without running any code of the file.

A saved encoder whose code is not an installed plugin keeps the stages of its backbone, and its head, as programs.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from aekit.data.spec import SampleSpec
from aekit.encoder.backbone import Backbone, BackboneWithDense, ModuleBackbone
from aekit.errors import IdentityError, OutputError, printable
from aekit.io.manifests import checksums
from aekit.registry.discovery import SESSION, Plugin
from aekit.registry.hookspecs import API_VERSION, Entry
from aekit.registry.session import SessionPlugin
from aekit.shared_settings import warning_rules

_TARGETS = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(getitem|add|sub|mul|floordiv|neg|[lg][te]|eq|ne)|torch\.sym_\w+"
)
"""What a program may call: tensor operations, and arithmetic on sizes."""
_SYMBOL = r"Symbol\('[su]\d+'(?:, (?:positive|nonnegative|integer)=True)*\)"
_SIZES = re.compile(rf"(?:{_SYMBOL}|Integer\(-?\d+\)|Mul|Add|FloorDiv|Mod|[-+*/(), \d]|[su]\d+)+")
"""How a program may write a size. torch evaluates such text."""


def write_program(module: nn.Module, example: Tensor, path: Path, *, extra_files: dict[str, str] | None = None) -> None:
    """Write a network in eval mode as its program, for batches of any size.

    Args:
        module: the network.
        example: (2, *shape) input.
        path: file to write, ``.pt2``.
        extra_files: further texts by name.
    """
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    program.example_inputs = None  # they would be pickled, and may be private data
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
    stored = io.BytesIO()
    torch.export.save(program, stored, extra_files=extra_files)
    path.write_bytes(stored.getvalue())


def read_program(path: Path) -> nn.Module:
    """Read a program, after checking that it holds tensor operations and plain weights alone.

    Raises:
        IdentityError: the file is damaged, or holds anything that could run code.
    """
    content = path.read_bytes()
    try:
        _check_program(content)
        with _quiet():
            module: Any = torch.export.load(io.BytesIO(content)).module()
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}") from None
    except Exception as error:
        raise IdentityError(f"{path}: cannot be read as a program: {str(error).strip().splitlines()[:1]}") from error
    # A program is fixed in eval mode, and says so by raising.
    module.train = MethodType(lambda self, mode=True: self, module)
    module.eval = MethodType(lambda self: self, module)
    return module


def _check_program(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        model = json.loads(archive.read(names["models/model.json"]))
        configs = [json.loads(archive.read(name)) for short, name in names.items() if short.endswith("_config.json")]
        inputs = [name for short, name in names.items() if short.startswith("data/sample_inputs/")]
        if any(archive.getinfo(name).file_size for name in inputs):
            raise IdentityError("holds example inputs, which are pickled")
    for config in configs:
        for name, payload in config["config"].items():
            if payload["use_pickle"] or payload.get("tensor_meta") is None:
                raise IdentityError(f"{name} is pickled")
    if model.get("guards_code"):
        raise IdentityError("contains custom code")
    for key, value in _entries(model):
        allowed = {"target": _TARGETS, "expr_str": _SIZES}.get(key)
        if allowed is not None and not (isinstance(value, str) and allowed.fullmatch(value)):
            raise IdentityError(f"calls {printable(repr(value))}, which is not a tensor operation")
        if key in ("as_custom_obj", "as_operator", "as_graph", "custom_obj_values") and value:
            raise IdentityError(f"holds more than tensor operations ({key})")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def save_programs(
    spec: SampleSpec, backbone: Backbone, head: nn.Module, plugins: Sequence[Plugin], folder: Path
) -> dict[str, Any]:
    """Write the programs of an encoder's parts that come from plugins of the session.

    Returns:
        their description and checksums for ``encoder.json``; empty if there are none.

    Raises:
        OutputError: a part cannot be kept as a program.
    """
    described: dict[str, Any] = {}
    files: list[str] = []
    for plugin in plugins:
        if plugin.distribution != SESSION:
            continue
        try:
            if plugin.kind == "backbone":
                trunk = backbone.trunk if isinstance(backbone, BackboneWithDense) else backbone
                described["backbone"] = _save_stages(trunk, torch.zeros(2, *spec.shape), folder)
                files += described["backbone"]["stages"]
            else:
                described["head"] = "head.pt2"
                _kept(head, torch.zeros(2, backbone.features_dim), folder / described["head"])
                files.append(described["head"])
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OutputError(
                f"{plugin.kind} {plugin.name!r} is code of this session and cannot be kept as a torch.export program "
                f"({reason}); make it a plugin: aekit plugins new {plugin.name} --kind {plugin.kind}"
            ) from error
    return {"programs": described, "sha256": checksums(folder, files)} if described else {}


def _save_stages(trunk: Backbone, x: Tensor, folder: Path) -> dict[str, Any]:
    """Write a program per stage of a backbone, with samples (2, *shape) as an example; return their description."""
    if type(trunk).forward is not Backbone.forward:
        raise ValueError("its forward is not the sequence of its stages")
    names = [f"stage-{number}.pt2" for number in range(len(trunk.stages))]
    for name, stage in zip(names, trunk.stages):
        x = _kept(stage, x, folder / name)
    return {
        "stages": names,
        "features_shape": list(trunk.features_shape),
        "decodes": isinstance(trunk, ModuleBackbone),
    }


def _kept(module: nn.Module, x: Tensor, path: Path) -> Tensor:
    """Write a module in eval mode as its program, check that it computes the same, and return its output."""
    module = deepcopy(module).cpu().eval()  # a program is bound to the device that it was written on
    with _quiet(), torch.no_grad():
        probe = torch.rand(3, *x.shape[1:])
        write_program(module, torch.cat([x[:1], torch.rand_like(x[:1])]), path)
        program = read_program(path)
        if program.state_dict().keys() != module.state_dict().keys():
            raise ValueError("it has state outside of its parameters and buffers")
        expected, computed = module(probe), program(probe)
        if expected.shape != computed.shape or not torch.allclose(expected, computed, rtol=1e-4, atol=1e-5):
            raise ValueError("the program computes something else")
        return module(x)


class ProgramBackbone(ModuleBackbone):
    """A backbone whose stages are programs."""

    def __init__(self, folder: Path, described: dict[str, Any], spec: SampleSpec) -> None:
        Backbone.__init__(self)
        self.stages = nn.ModuleList(read_program(folder / name) for name in described["stages"])
        self.features_shape, self.sample_shape = tuple(described["features_shape"]), spec.shape
        self.features_dim, self.decodes = torch.Size(self.features_shape).numel(), described["decodes"]

    def decoder(self, dim: int, expand: nn.Module | None = None) -> nn.Module:
        if not self.decodes:
            raise NotImplementedError("the backbone is kept as a torch.export program, which has no decoder")
        return super().decoder(dim, expand)


class _ProgramHead:
    """Stands in for the variant that gave the head."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def head(self, features_shape: tuple[int, ...], dim: int) -> nn.Module:
        return read_program(self.path)


def program_plugin(record: dict[str, str], folder: Path, described: dict[str, Any]) -> Plugin | None:
    """Return a plugin that gives the kept programs instead of the code that a saved encoder names; None if none is kept."""
    part = described.get("backbone" if record["kind"] == "backbone" else "head")
    if part is None:
        return None

    def give(spec: SampleSpec | None = None) -> Any:
        return _ProgramHead(folder / part) if spec is None else ProgramBackbone(folder, part, spec)

    give.keeps_weights = True  # type: ignore[attr-defined]
    entry = Entry(record["name"], "torch.export", "a torch.export program", API_VERSION)
    return SessionPlugin(record["kind"], entry, SESSION, record["version"], give, listed=False)


def reset_weights(module: nn.Module) -> None:
    """Draw new initial weights, by the modules' own rules or, where they have none, as linear layers and norms do."""
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
            continue
        for name, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            with torch.no_grad():
                if tensor.ndim > 1 and tensor.is_floating_point():
                    nn.init.kaiming_uniform_(tensor, a=5**0.5)
                elif name.endswith(("bias", "running_mean", "num_batches_tracked")):
                    tensor.zero_()
                elif name.endswith(("weight", "running_var")):
                    tensor.fill_(1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of torch.export, which are for its developers."""
    with warning_rules(("ignore", "", Warning)):
        yield
