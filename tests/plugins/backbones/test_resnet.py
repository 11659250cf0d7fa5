"""The residual network is torchvision's, and has a stem for small samples."""

from __future__ import annotations

import pytest
import torch
from aekit_plugins.backbones.resnet import ResNet
from torch import nn

from aekit.data.spec import Kind, SampleSpec


@pytest.mark.parametrize("blocks", [[2, 2, 2, 2], [3, 4, 6, 3]])
def test_with_torchvisions_weights_it_gives_torchvisions_features(blocks: list[int]) -> None:
    from torchvision import models

    theirs = (models.resnet18 if sum(blocks) == 8 else models.resnet34)().eval()
    theirs.fc = nn.Identity()
    ours = ResNet(SampleSpec("image", (3, 65, 90), "uint8"), blocks=blocks).eval()
    assert [tuple(weight.shape) for weight in ours.state_dict().values()] == [
        tuple(weight.shape) for weight in theirs.state_dict().values()
    ]
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values())))
    x = torch.rand(2, 3, 65, 90, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), atol=1e-4)


def test_small_samples_keep_their_resolution_in_the_first_group() -> None:
    """The network for CIFAR-10: a 3 x 3 convolution without stride, no pooling; 32 x 32 down to 4 x 4 in the last group."""
    network = ResNet(SampleSpec("image", (3, 32, 32), "uint8"))
    x, sides = torch.rand(2, 3, 32, 32), []
    for stage in network.stages[:-1]:
        x = stage(x)
        sides.append(x.shape[-1])
    assert sides == [32, 32, 16, 8]
    stem = next(network.stages[0].children())
    assert isinstance(stem, nn.Conv2d) and stem.kernel_size == (3, 3)
    assert network.features_shape == (512,) and network.stages[-1](x).shape == (2, 512)


@pytest.mark.parametrize(("stem", "side"), [("auto", 64), ("small", 64), ("large", 16)])
def test_the_stem_can_be_chosen(stem: str, side: int) -> None:
    network = ResNet(SampleSpec("image", (1, 64, 64), "uint8"), width=4, stem=stem)  # type: ignore[arg-type]
    assert network.stages[0](torch.rand(1, 1, 64, 64)).shape == (1, 4, side, side)


@pytest.mark.parametrize(("kind", "shape"), [("series", (2, 100)), ("clip", (1, 4, 12, 12))])
def test_other_kinds(kind: Kind, shape: tuple[int, ...]) -> None:
    network = ResNet(SampleSpec(kind, shape, "float32"), width=4, blocks=[1, 1])
    assert network(torch.rand(2, *shape)).shape == (2, 8)
    with pytest.raises(ValueError, match="expected series"):
        ResNet(SampleSpec("vector", (5,), "float32"))
