"""Names and shapes of tensors as the public code of segmentation networks has them, written down a second time.

Sources of the names: torchvision (resnet.py, segmentation/), segmentation_models_pytorch (decoders/unet,
decoders/deeplabv3), VainF/DeepLabV3Plus-Pytorch (network/_deeplab.py), jfzhang95/pytorch-deeplab-xception (modeling),
HRNet-Semantic-Segmentation (lib/models/seg_hrnet.py).
"""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def norm(name: str, width: int) -> Shapes:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{leaf}": (width,) for leaf in leaves}, f"{name}.num_batches_tracked": ()}


def normed(convolution: str, normed_by: str, inputs: int, outputs: int, size: int) -> Shapes:
    return {f"{convolution}.weight": (outputs, inputs, size, size), **norm(normed_by, outputs)}


def unit(name: str, inputs: int, outputs: int, size: int) -> Shapes:
    return normed(f"{name}.0", f"{name}.1", inputs, outputs, size)


def classifier(name: str, inputs: int, classes: int, size: int = 1) -> Shapes:
    return {f"{name}.weight": (classes, inputs, size, size), f"{name}.bias": (classes,)}


def basic(name: str, inputs: int, width: int) -> Shapes:
    return normed(f"{name}.conv1", f"{name}.bn1", inputs, width, 3) | normed(
        f"{name}.conv2", f"{name}.bn2", width, width, 3
    )


def bottleneck(name: str, inputs: int, width: int) -> Shapes:
    return {
        **normed(f"{name}.conv1", f"{name}.bn1", inputs, width, 1),
        **normed(f"{name}.conv2", f"{name}.bn2", width, width, 3),
        **normed(f"{name}.conv3", f"{name}.bn3", width, 4 * width, 1),
    }


def resnet(prefix: str, depth: int) -> Shapes:
    found = normed(f"{prefix}conv1", f"{prefix}bn1", 3, 64, 7)
    inputs, wider = 64, 4 if depth >= 50 else 1
    for layer, (count, width) in enumerate(zip(BLOCKS[depth], (64, 128, 256, 512), strict=True), 1):
        for block in range(count):
            name = f"{prefix}layer{layer}.{block}"
            found |= (bottleneck if wider == 4 else basic)(name, inputs, width)
            if block == 0 and (layer > 1 or wider == 4):
                found |= unit(f"{name}.downsample", inputs, wider * width, 1)
            inputs = wider * width
    return found


def unet(depth: int, classes: int) -> Shapes:
    found = resnet("encoder.", depth) | classifier("segmentation_head.0", 16, classes, 3)
    skips = (256, 128, 64, 64, 0) if depth < 50 else (1024, 512, 256, 64, 0)
    inputs = 512 if depth < 50 else 2048
    for block, (skip, width) in enumerate(zip(skips, (256, 128, 64, 32, 16), strict=True)):
        found |= unit(f"decoder.blocks.{block}.conv1", inputs + skip, width, 3)
        found |= unit(f"decoder.blocks.{block}.conv2", width, width, 3)
        inputs = width
    return found


def aspp(name: str) -> Shapes:
    found = unit(f"{name}.convs.0", 2048, 256, 1) | unit(f"{name}.project", 1280, 256, 1)
    for branch in (1, 2, 3):
        found |= unit(f"{name}.convs.{branch}", 2048, 256, 3)
    return found | normed(f"{name}.convs.4.1", f"{name}.convs.4.2", 2048, 256, 1)


def deeplabv3plus(depth: int, classes: int) -> Shapes:
    return {
        **resnet("backbone.", depth),
        **unit("classifier.project", 256, 48, 1),
        **aspp("classifier.aspp"),
        **unit("classifier.classifier", 304, 256, 3),
        **classifier("classifier.classifier.3", 256, classes),
    }


def deeplabv3plus_multigrid(depth: int, classes: int) -> Shapes:
    found = resnet("backbone.", depth)
    for branch, size in zip((1, 2, 3, 4), (1, 3, 3, 3), strict=True):
        found |= normed(f"aspp.aspp{branch}.atrous_conv", f"aspp.aspp{branch}.bn", 2048, 256, size)
    found |= normed("aspp.global_avg_pool.1", "aspp.global_avg_pool.2", 2048, 256, 1)
    found |= normed("aspp.conv1", "aspp.bn1", 1280, 256, 1) | normed("decoder.conv1", "decoder.bn1", 256, 48, 1)
    found |= normed("decoder.last_conv.0", "decoder.last_conv.1", 304, 256, 3)
    found |= normed("decoder.last_conv.4", "decoder.last_conv.5", 256, 256, 3)
    return found | classifier("decoder.last_conv.8", 256, classes)


def separable(name: str, inputs: int, outputs: int, first: int = 0) -> Shapes:
    alone, across = (f"{name}.{first}.{number}.weight" for number in (0, 1))
    return {
        alone: (inputs, 1, 3, 3),
        across: (outputs, inputs, 1, 1),
        **norm(f"{name}.{first + 1}", outputs),
    }


def deeplabv3plus_smp(depth: int, classes: int) -> Shapes:
    low, high = (64, 512) if depth < 50 else (256, 2048)
    found = resnet("encoder.", depth) | unit("decoder.aspp.0.convs.0", high, 256, 1)
    for branch in (1, 2, 3):
        found |= separable(f"decoder.aspp.0.convs.{branch}", high, 256)
    found |= normed("decoder.aspp.0.convs.4.1", "decoder.aspp.0.convs.4.2", high, 256, 1)
    found |= unit("decoder.aspp.0.project", 1280, 256, 1) | separable("decoder.aspp", 256, 256, first=1)
    found |= unit("decoder.block1", low, 48, 1) | separable("decoder.block2", 304, 256)
    return found | classifier("segmentation_head.0", 256, classes)


def deeplabv3(depth: int, classes: int) -> Shapes:
    head = normed("classifier.1", "classifier.2", 256, 256, 3) | classifier("classifier.4", 256, classes)
    return resnet("backbone.", depth) | aspp("classifier.0") | head


def fcn_head(name: str, inputs: int, classes: int) -> Shapes:
    return unit(name, inputs, inputs // 4, 3) | classifier(f"{name}.4", inputs // 4, classes)


def fcn(depth: int, classes: int) -> Shapes:
    return resnet("backbone.", depth) | fcn_head("classifier", 2048, classes)


def hrnet(width: int, classes: int) -> Shapes:
    widths = [width, 2 * width, 4 * width, 8 * width]
    found = normed("conv1", "bn1", 3, 64, 3) | normed("conv2", "bn2", 64, 64, 3)
    for block in range(4):
        found |= bottleneck(f"layer1.{block}", 64 if block == 0 else 256, 64)
    found |= unit("layer1.0.downsample", 64, 256, 1)
    found |= unit("transition1.0", 256, widths[0], 3) | unit("transition1.1.0", 256, widths[1], 3)
    found |= unit("transition2.2.0", widths[1], widths[2], 3) | unit("transition3.3.0", widths[2], widths[3], 3)
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        for module in range(modules):
            found |= hrnet_module(f"stage{stage}.{module}", widths[:stage])
    found |= {"last_layer.0.weight": (15 * width, 15 * width, 1, 1), "last_layer.0.bias": (15 * width,)}
    return found | norm("last_layer.1", 15 * width) | classifier("last_layer.3", 15 * width, classes)


def hrnet_module(name: str, widths: list[int]) -> Shapes:
    found: Shapes = {}
    for to, width in enumerate(widths):
        for block in range(4):
            found |= basic(f"{name}.branches.{to}.{block}", width, width)
        for source, inputs in enumerate(widths):
            place = f"{name}.fuse_layers.{to}.{source}"
            if source > to:
                found |= unit(place, inputs, width, 1)
            for step in range(to - source):
                found |= unit(f"{place}.{step}", inputs, width if step == to - source - 1 else inputs, 3)
    return found
