"""Forward passes of public networks in plain functions of the tensors: what the modules are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]


def norm(t: State, name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (t[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, eps=1e-5)


def unit(t: State, name: str, x: Tensor, stride: int = 1, dilation: int = 1, first: int = 0) -> Tensor:
    """A convolution that keeps the sides, and its norm: `name.0` and `name.1`, or numbers further on."""
    weight = t[f"{name}.{first}.weight"]
    padding = dilation * (weight.shape[2] // 2)
    return norm(t, f"{name}.{first + 1}", F.conv2d(x, weight, None, stride, padding, dilation))


def block(t: State, name: str, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    if f"{name}.conv3.weight" in t:
        y = F.relu(norm(t, f"{name}.bn1", F.conv2d(x, t[f"{name}.conv1.weight"])))
        y = F.conv2d(y, t[f"{name}.conv2.weight"], None, stride, dilation, dilation)
        y = norm(t, f"{name}.bn3", F.conv2d(F.relu(norm(t, f"{name}.bn2", y)), t[f"{name}.conv3.weight"]))
    else:
        y = F.relu(norm(t, f"{name}.bn1", F.conv2d(x, t[f"{name}.conv1.weight"], None, stride, dilation, dilation)))
        y = norm(t, f"{name}.bn2", F.conv2d(y, t[f"{name}.conv2.weight"], None, 1, dilation, dilation))
    return F.relu(y + (unit(t, f"{name}.downsample", x, stride) if f"{name}.downsample.0.weight" in t else x))


def resnet(t: State, prefix: str, x: Tensor, stride: int) -> list[Tensor]:
    """Stem and layers. The first block of a layer that is not strided keeps the dilation of the layer before."""
    x = F.relu(norm(t, f"{prefix}bn1", F.conv2d(x, t[f"{prefix}conv1.weight"], None, 2, 3)))
    found = [x]
    x = F.max_pool2d(x, 3, 2, 1)
    dilations = {32: ((1, 1), (1, 1)), 16: ((1, 1), (1, 2)), 8: ((1, 2), (2, 4))}[stride]
    for layer, (first, others) in enumerate(((1, 1), (1, 1), *dilations), 1):
        strided = layer > 1 and 2 ** (layer + 1) <= stride
        number = 0
        while f"{prefix}layer{layer}.{number}.conv1.weight" in t:
            name = f"{prefix}layer{layer}.{number}"
            x = block(t, name, x, 2 if strided and number == 0 else 1, others if number else first)
            number += 1
        found.append(x)
    return found


def unet(t: State, x: Tensor, stride: int) -> Tensor:
    *skips, x = resnet(t, "encoder.", x, stride)
    for number in range(5):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = torch.cat((x, skips[-1 - number]), 1) if number < 4 else x
        x = F.relu(unit(t, f"decoder.blocks.{number}.conv1", x))
        x = F.relu(unit(t, f"decoder.blocks.{number}.conv2", x))
    return F.conv2d(x, t["segmentation_head.0.weight"], t["segmentation_head.0.bias"], padding=1)


def aspp(t: State, name: str, x: Tensor, rates: tuple[int, ...]) -> Tensor:
    parts = [F.relu(unit(t, f"{name}.convs.0", x))]
    parts += [F.relu(unit(t, f"{name}.convs.{n}", x, 1, rate)) for n, rate in enumerate(rates, 1)]
    mean = F.relu(unit(t, f"{name}.convs.4", x.mean((2, 3), keepdim=True), first=1))
    return F.relu(unit(t, f"{name}.project", torch.cat((*parts, mean.expand(-1, -1, *x.shape[2:])), 1)))


def deeplabv3plus(t: State, x: Tensor, stride: int) -> Tensor:
    _, low, _, _, high = resnet(t, "backbone.", x, stride)
    high = aspp(t, "classifier.aspp", high, (6, 12, 18) if stride == 16 else (12, 24, 36))
    low = F.relu(unit(t, "classifier.project", low))
    high = F.interpolate(high, size=low.shape[2:], mode="bilinear", align_corners=False)
    x = F.relu(unit(t, "classifier.classifier", torch.cat((low, high), 1)))
    return F.conv2d(x, t["classifier.classifier.3.weight"], t["classifier.classifier.3.bias"])


def dilated(t: State, prefix: str, x: Tensor, stride: int, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The first layer and the last, of a backbone whose dilated layers are so from their first block on."""
    x = F.relu(norm(t, f"{prefix}bn1", F.conv2d(x, t[f"{prefix}conv1.weight"], None, 2, 3)))
    x = low = F.max_pool2d(x, 3, 2, 1)
    strides, dilations = {16: ((1, 2, 2, 1), (1, 1, 1, 2)), 8: ((1, 2, 1, 1), (1, 1, 2, 4))}[stride]
    for layer in (1, 2, 3, 4):
        number = 0
        while f"{prefix}layer{layer}.{number}.conv1.weight" in t:
            dilation = dilations[layer - 1] * (grid[number % len(grid)] if layer == 4 else 1)
            step = strides[layer - 1] if number == 0 else 1
            x = block(t, f"{prefix}layer{layer}.{number}", x, step, dilation)
            number += 1
        low = x if layer == 1 else low
    return low, x


def deeplabv3plus_multigrid(t: State, x: Tensor, stride: int) -> Tensor:
    size = x.shape[2:]
    low, x = dilated(t, "backbone.", x, stride, (1, 2, 4))
    parts = []
    for branch, rate in zip((1, 2, 3, 4), (1, 6, 12, 18) if stride == 16 else (1, 12, 24, 36), strict=True):
        weight = t[f"aspp.aspp{branch}.atrous_conv.weight"]
        parts.append(F.conv2d(x, weight, None, 1, rate if branch > 1 else 0, rate))
        parts[-1] = F.relu(norm(t, f"aspp.aspp{branch}.bn", parts[-1]))
    mean = F.relu(unit(t, "aspp.global_avg_pool", x.mean((2, 3), keepdim=True), first=1))
    x = torch.cat((*parts, mean.expand(-1, -1, *x.shape[2:])), 1)
    x = F.relu(norm(t, "aspp.bn1", F.conv2d(x, t["aspp.conv1.weight"])))
    low = F.relu(norm(t, "decoder.bn1", F.conv2d(low, t["decoder.conv1.weight"])))
    x = torch.cat((F.interpolate(x, size=low.shape[2:], mode="bilinear", align_corners=True), low), 1)
    x = F.relu(unit(t, "decoder.last_conv", F.relu(unit(t, "decoder.last_conv", x)), first=4))
    x = F.conv2d(x, t["decoder.last_conv.8.weight"], t["decoder.last_conv.8.bias"])
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def separable(t: State, name: str, x: Tensor, dilation: int = 1, first: int = 0) -> Tensor:
    alone, across = (t[f"{name}.{first}.{number}.weight"] for number in (0, 1))
    x = F.conv2d(F.conv2d(x, alone, None, 1, dilation, dilation, groups=len(alone)), across)
    return F.relu(norm(t, f"{name}.{first + 1}", x))


def deeplabv3plus_smp(t: State, x: Tensor, stride: int) -> Tensor:
    low, x = dilated(t, "encoder.", x, stride, (1,))
    parts = [F.relu(unit(t, "decoder.aspp.0.convs.0", x))]
    parts += [separable(t, f"decoder.aspp.0.convs.{n}", x, rate) for n, rate in enumerate((12, 24, 36), 1)]
    mean = F.relu(unit(t, "decoder.aspp.0.convs.4", x.mean((2, 3), keepdim=True), first=1))
    x = torch.cat((*parts, mean.expand(-1, -1, *x.shape[2:])), 1)
    x = separable(t, "decoder.aspp", F.relu(unit(t, "decoder.aspp.0.project", x)), first=1)
    x = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=True)
    x = separable(t, "decoder.block2", torch.cat((x, F.relu(unit(t, "decoder.block1", low))), 1))
    x = F.conv2d(x, t["segmentation_head.0.weight"], t["segmentation_head.0.bias"])
    return F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=True)


def deeplabv3(t: State, x: Tensor, stride: int) -> Tensor:
    x = aspp(t, "classifier.0", resnet(t, "backbone.", x, stride)[-1], (12, 24, 36))
    return F.conv2d(F.relu(unit(t, "classifier", x, first=1)), t["classifier.4.weight"], t["classifier.4.bias"])


def fcn(t: State, x: Tensor, stride: int) -> Tensor:
    x = F.relu(unit(t, "classifier", resnet(t, "backbone.", x, stride)[-1]))
    return F.conv2d(x, t["classifier.4.weight"], t["classifier.4.bias"])


def hrnet(t: State, x: Tensor, stride: int) -> Tensor:
    for number in (1, 2):
        x = F.relu(norm(t, f"bn{number}", F.conv2d(x, t[f"conv{number}.weight"], None, 2, 1)))
    for number in range(4):
        x = block(t, f"layer1.{number}", x)
    branches = [F.relu(unit(t, "transition1.0", x)), F.relu(unit(t, "transition1.1.0", x, 2))]
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        for number in range(modules):
            branches = hrnet_module(t, f"stage{stage}.{number}", branches)
        if stage < 4:
            branches.append(F.relu(unit(t, f"transition{stage}.{stage}.0", branches[-1], 2)))
    size = branches[0].shape[2:]
    x = torch.cat([F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in branches], 1)
    x = F.relu(norm(t, "last_layer.1", F.conv2d(x, t["last_layer.0.weight"], t["last_layer.0.bias"])))
    return F.conv2d(x, t["last_layer.3.weight"], t["last_layer.3.bias"])


def hrnet_module(t: State, name: str, branches: list[Tensor]) -> list[Tensor]:
    for number in range(len(branches)):
        for step in range(4):
            branches[number] = block(t, f"{name}.branches.{number}.{step}", branches[number])
    return [
        F.relu(sum(exchanged(t, name, branches, source, to) for source in range(len(branches))))
        for to in range(len(branches))
    ]  # type: ignore[arg-type]


def exchanged(t: State, name: str, branches: list[Tensor], source: int, to: int) -> Tensor:
    x, place = branches[source], f"{name}.fuse_layers.{to}.{source}"
    if source > to:
        return F.interpolate(unit(t, place, x), size=branches[to].shape[2:], mode="bilinear", align_corners=False)
    for step in range(to - source):
        x = unit(t, f"{place}.{step}", x, 2)
        x = x if step == to - source - 1 else F.relu(x)
    return x


FORWARDS: dict[str, Callable[[State, Tensor, int], Tensor]] = {
    "unet": unet,
    "deeplabv3plus": deeplabv3plus,
    "deeplabv3plus-multigrid": deeplabv3plus_multigrid,
    "deeplabv3plus-smp": deeplabv3plus_smp,
    "deeplabv3": deeplabv3,
    "fcn": fcn,
    "hrnet": hrnet,
}
