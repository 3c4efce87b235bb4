"""Networks whose attributes are called like methods of `torch.nn.Module`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import pictures
from model_files import NET, bound, registered, shapes
from torch import nn

from fusionlib.architectures.modules import named_modules
from fusionlib.architectures.recognise import recognise
from fusionlib.engine.activations import recorded
from fusionlib.engine.recalibrate import recalibrate
from fusionlib.statistics.fisher import picture_information

pytestmark = pytest.mark.usefixtures("architectures")

METHODS = ["modules", "named_modules", "children", "named_children", "parameters", "named_parameters", "buffers"]
METHODS += ["named_buffers", "train", "eval", "to", "state_dict", "requires_grad_", "apply"]
IMAGES = pictures(3)
PLAIN = NET + "\ndef make(classes):\n    return Net(classes)\n"
HIDING = """
class Block(nn.Conv2d):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.{name} = ["a", "b"]
    def forward(self, x):
        return super().forward(x) * (len(self.{name}) - 1)

class Own(Net):
    def forward(self, x):
        return self.logits(x) * self.{name}[0]

def make(classes):
    net = Own(classes)
    net.body = Block(3, 6, 3, padding=1)
    net.{name} = [1.0]
    return net

def stages(net):
    from fusionlib.contracts import Stage
    return (Stage("body", net.body), Stage("norm", net.norm), Stage("head", lambda x: net.head(x) * net.{name}[0]))
"""


@pytest.mark.parametrize("name", METHODS)
def test_an_attribute_called_like_a_method_breaks_nothing(tmp_path: Path, name: str) -> None:
    item = registered(tmp_path, NET + HIDING.replace("{name}", name))
    assert recognise(shapes(4)) == ("mine:make", 4)
    plain = bound(tmp_path, registered(tmp_path, PLAIN, name="plain"), 4)
    network = bound_to(plain, item)
    assert torch.equal(network.logits(IMAGES), plain.logits(IMAGES)) and len(network.trail._stages) == 3
    assert torch.equal(network.logits(IMAGES, resume=True), plain.logits(IMAGES))
    information = [
        picture_information(one, IMAGES[0], "sampled", torch.Generator().manual_seed(1)) for one in (network, plain)
    ]
    assert torch.equal(*information) and information[0].any()
    assert torch.equal(recalibrate(network, [IMAGES]), recalibrate(plain, [IMAGES]))
    with recorded(network.module) as seen:
        network.logits(IMAGES)
    assert {"body", "norm", "head"} <= seen.keys()
    assert vars(network.module)[name] == [1.0] and not network.module.training


def bound_to(plain, item):
    """The network of `item` with the weights of another."""
    network = type(plain)(item, 4, plain.layout, plain.integers, device=plain.device)
    network.load(plain.flat)
    return network


def test_submodules_of_such_names_are_walked_too(tmp_path: Path) -> None:
    code = "class Row(nn.Sequential):\n    def __init__(self, classes):\n        super().__init__()\n"
    code += "        self.modules = nn.Conv2d(3, 6, 1)\n        self.train = nn.BatchNorm2d(6)\n"
    code += "        self.parameters = nn.Conv2d(6, classes, 1)\n"
    item = registered(tmp_path, f"import torch\nfrom torch import nn\n\n{code}", "Row")
    assert recognise(item.shapes(3)) == ("mine:Row", 3) and "train.running_mean" in item.shapes(3)
    torch.manual_seed(0)
    network = bound(tmp_path, item, 3)
    before = network.logits(IMAGES)
    assert not torch.equal(recalibrate(network, [IMAGES]), torch.zeros_like(network.flat))
    assert not torch.equal(network.logits(IMAGES), before)


def test_the_walk_is_that_of_torch() -> None:
    shared = nn.Conv2d(1, 1, 1)
    network = nn.Sequential(nn.Sequential(shared, nn.ReLU()), shared, nn.ModuleDict({"a": nn.BatchNorm2d(1)}))
    network.register_module("none", None)
    assert list(named_modules(network).items()) == list(network.named_modules())
