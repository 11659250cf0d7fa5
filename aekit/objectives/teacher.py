"""A frozen teacher and its features of training samples, computed once and kept, or at every step."""

from __future__ import annotations

import copy
import hashlib
import math
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from aekit.data.array_cache import ArrayCache
from aekit.data.samples import Samples
from aekit.encoder.encoder import Encoder
from aekit.encoder.pretrained import AUTO, NONE, describe_pretrained, open_pretrained, pretrained_name
from aekit.errors import AekitError, RecipeError, TrainingError
from aekit.io.device import multiplies_bf16
from aekit.io.processes import is_part
from aekit.nn.augment.base import Augmentation
from aekit.progress import Progress
from aekit.version import __version__

INITIAL = "initial"
"""Name of the teacher that is the student itself with its initial weights."""
MAX_BYTES = 2**34
"""Size of all views and features of teachers that are kept."""
LARGEST = 65504.0
"""Largest number of float16, in which features are kept."""
BATCH = 64
"""Samples per forward pass of the teacher."""


class Teacher:
    """A frozen network whose features a student learns; no part of the student's task or of its checkpoints.

    It computes in bfloat16 where the hardware multiplies in it.

    Args:
        name: as `aekit.encoder.pretrained` describes; ``initial``: the student with its initial weights; ``auto``: a pretrained
            network at hand for images, else ``initial``.
        student: the encoder that learns from it.
        place: what names it, for messages.
        size: side that images are resized to for a network of a backbone; by default what its weights expect.

    Attributes:
        dim: F, width of its features.
        description: which network it is.

    Raises:
        RecipeError, DataError, IdentityError, PluginError: as `open_pretrained`.
    """

    def __init__(self, name: str, student: Encoder, place: str, size: int | None = None) -> None:
        if name == AUTO:
            name = pretrained_name(name) if student.spec.is_image else INITIAL
        self._student, self.network = student, student
        if name in (INITIAL, NONE):
            self.refresh()
            weights = "pretrained" if "weights" in student.record else "random"
            self.description = f"the encoder itself with its {weights} initial weights"
        else:
            self.network = open_pretrained(name, student.spec, student.preprocess, place=place, size=size)
            self.description = describe_pretrained(self.network)
        self.is_student = name in (INITIAL, NONE)
        self.dim = self.network.dim

    def refresh(self) -> None:
        """Copy the weights of the student, as its own teacher.

        Weights that several processes share are those that it was built with.
        """
        if any(map(is_part, self._student.parameters())):
            return
        self.network = copy.deepcopy(self._student).eval().requires_grad_(False)

    @property
    def record(self) -> dict[str, Any]:
        """Which network it is, for the record of the student."""
        origin = {} if self.is_student else self.network.record["weights"]
        return {"network": self.description, **origin, "digest": self.network.digest}

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Compute features (B, F) float32 of samples (B, *shape) as the student's preprocessing returns them."""
        network = self.network.to(x.device)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=multiplies_bf16(x.device)):
            if not self.is_student:
                x = network.preprocess(self._student.preprocess.inverse(x))
            return network.encode(x).float()


class KeptViews:
    """Views of the training samples, drawn once, with the teacher's features of each, in files that later runs use again.

    The first view is the sample itself. Views of samples in [0, 1] have 8 bits, and the teacher sees them so.

    Args:
        samples: the training samples.
        student: encoder whose preprocessing the views have.
        teacher: the teacher.
        augmentation: draws the other views.
        count: K, number of views of each sample.
        place: the setting of K, for messages.
        display: receives a bar.

    Attributes:
        features: (N, K, F) float16.

    Raises:
        RecipeError: views and features are larger than the cache.
        TrainingError: features are not finite, or too large to be kept.
    """

    def __init__(
        self,
        samples: Samples,
        student: Encoder,
        teacher: Teacher,
        augmentation: Augmentation,
        count: int,
        *,
        place: str,
        display: Progress,
    ) -> None:
        self.count, self.unit = count, student.preprocess.unit
        rows = (len(samples), count)
        layouts: dict[str, tuple[Any, tuple[int, ...]]] = {"features": (np.float16, (*rows, teacher.dim))}
        if count > 1:
            layouts["views"] = np.uint8 if self.unit else np.float32, (*rows, *student.spec.shape)
        size = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in layouts.values())
        if size > MAX_BYTES:
            limit = f"expected at most {MAX_BYTES * count // size}, or 'fresh'"
            raise RecipeError([f"{place} = {count}: takes {size / 2**30:.1f} GiB; {limit}"])
        key = "" if teacher.is_student else self._key(samples, student, teacher, augmentation)
        cache = ArrayCache("teachers", MAX_BYTES, display)
        arrays = cache.read(key, set(layouts), len(samples), mapped=True) if key else {}
        if not arrays:
            with ExitStack() as stack:
                part = None
                if key:  # no later run has the same initial weights
                    try:
                        part = stack.enter_context(cache.write(key, size))
                    except (OSError, AekitError) as error:  # another process, or another rank of this run, writes them
                        display.say(f"teachers: not kept for later runs: {error}")
                for name, (dtype, shape) in layouts.items():
                    path = part and part / f"{name}.npy"
                    arrays[name] = open_memmap(path, "w+", dtype, shape) if path else np.empty(shape, dtype)
                self._fill(arrays, samples, student, teacher, augmentation, display)
        self.features, self.views = arrays["features"], arrays.get("views")

    def draw(self, x: Tensor, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw one of the views of each sample, with the teacher's features of it.

        Args:
            x: (B, *shape) the preprocessed samples.
            positions: (B,) their positions among the training samples, on the CPU.
            generator: draws which view.

        Returns:
            views (B, *shape) and features (B, F) float32.
        """
        numbers = torch.randint(self.count, (len(x),), generator=generator, device=generator.device)
        rows, columns = positions.numpy(), numbers.cpu().numpy()
        if self.views is not None:
            x = self._scaled(torch.from_numpy(self.views[rows, columns]).to(x.device))
        return x, torch.from_numpy(self.features[rows, columns]).to(x.device).float()

    def _fill(
        self,
        arrays: dict[str, np.ndarray],
        samples: Samples,
        student: Encoder,
        teacher: Teacher,
        augmentation: Augmentation,
        display: Progress,
    ) -> None:
        generator, start = torch.Generator(samples.device).manual_seed(0), 0
        with display.task("teacher's features", self.count * len(samples), "views") as task, torch.no_grad():
            for raw in samples.chunks(BATCH):
                x = student.preprocess(raw)
                for number in range(self.count):
                    view = augmentation(x, generator) if number else x
                    if "views" in arrays:
                        stored = (255 * view.clamp(0, 1)).round().byte() if self.unit else view
                        arrays["views"][start : start + len(raw), number] = stored.cpu().numpy()
                        view = self._scaled(stored)
                    features = teacher(view)
                    if not features.abs().amax() <= LARGEST:
                        raise TrainingError(
                            f"teacher: {teacher.description} has features beyond {LARGEST:g}, or not finite"
                        )
                    arrays["features"][start : start + len(raw), number] = features.cpu().numpy()
                    task.advance(len(raw))
                start += len(raw)

    def _scaled(self, stored: Tensor) -> Tensor:
        x = stored.float() / 255 if self.unit else stored
        # A step of a residual network on a CPU was measured 1.6 times as fast in this memory format.
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x

    def _key(self, samples: Samples, student: Encoder, teacher: Teacher, augmentation: Augmentation) -> str:
        key = hashlib.blake2b(digest_size=16)
        for raw in samples.chunks():
            key.update(np.ascontiguousarray(raw.cpu().numpy()).data)
        scaling = [tensor.tolist() for tensor in student.preprocess.buffers()]
        settings = (repr(samples.spec), len(samples), scaling, teacher.network.digest, augmentation, self.count)
        key.update(repr((*settings, samples.device.type, __version__, torch.__version__)).encode())
        return key.hexdigest()
