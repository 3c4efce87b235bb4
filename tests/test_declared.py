"""What a model file declares: refused where it is wrong, honoured wherever pictures run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import pictures
from model_files import MAKE, NET, bound, net_with, registered, shapes, tensors_of
from torch import nn

from fusionlib.architectures.outputs import logits_of
from fusionlib.architectures.recognise import recognise
from fusionlib.contracts import Output, Preprocessing
from fusionlib.engine.activations import recorded
from fusionlib.engine.identity import architecture_key, identities
from fusionlib.engine.inputs import Inputs
from fusionlib.engine.observe import _of_picture
from fusionlib.engine.recalibrate import recalibrate
from fusionlib.errors import ArchitectureError, UsageError
from fusionlib.lab.batches import CropSampler
from fusionlib.statistics.fisher import picture_information

pytestmark = pytest.mark.usefixtures("architectures")

IMAGES = pictures(2, size=(20, 30))
WRONG = [
    ("SCALE = 2", "one of 1, 255"),
    ("SCALE = True", "one of 1, 255"),
    ("SCALE = [255]", "one of 1, 255"),
    ("ORDER = 'bgr'", "one of 'RGB', 'BGR'"),
    ("ORDER = 1", "one of 'RGB', 'BGR'"),
    ("PAD = 0", "from 1 to"),
    ("PAD = 32.5", "from 1 to"),
    ("PAD = 'reflect'", "from 1 to"),
    ("RESIZE = 512", "height and width"),
    ("RESIZE = (512, 0)", "height and width"),
    ("RESIZE = (512, '1024')", "height and width"),
    ("RESIZE, PAD = (64, 64), 32", "left out where RESIZE is given"),
    ("WINDOW = 0", "a side of 8 to"),
    ("WINDOW = (64, 7)", "an eighth of it or more"),
    ("WINDOW = (64, 65)", "an eighth of it or more"),
    ("WINDOW = (64, 32, 1)", "a side of 8 to"),
    ("WINDOW = '768'", "a side of 8 to"),
    ("WINDOW, PAD = 64, 32", "left out where RESIZE or PAD is given"),
    ("OUTPUT = True", "key or the place"),
    ("OUTPUT = ['aux']", "key or the place"),
    ("ACTIVATION = 'relu'", "'logits', 'softmax', 'sigmoid'"),
    ("ACTIVATION = None", "'logits', 'softmax', 'sigmoid'"),
    ("MEAN = 0.5", "three numbers"),
    ("MEAN = (0, 0, float('nan'))", "three numbers"),
    ("STD = (1, 1, 0)", "three numbers above 0"),
    ("HEAD = 5", "name prefixes"),
    ("HEAD = [5]", "name prefixes"),
    ("LABEL_SPACE = 5", "names of all classes"),
    ("LABEL_SPACE = {'road': 0}", "names of all classes"),
    ("LABEL_SPACE = []", "one to 255 names"),
    ("LABEL_SPACE = ['road', 5]", "one to 255 names"),
    ("LABEL_SPACE = ['road', 'Road']", "each once"),
    ("LABEL_MAP = {'car': 'vehicle'}", "LABEL_SPACE"),
    ("LABEL_SPACE, LABEL_MAP = ['car'], ['vehicle']", "{'car': 'vehicle', 'sky': None}"),
    ("LABEL_SPACE, LABEL_MAP = ['car'], {'car': 3}", "{'car': 'vehicle', 'sky': None}"),
    ("LABEL_SPACE, LABEL_MAP = ['car'], {'cra': 'vehicle'}", "names of LABEL_SPACE: car"),
]


@pytest.mark.parametrize(("line", "needs"), WRONG)
def test_a_wrong_declaration_is_refused_by_its_name_when_the_file_is_loaded(
    tmp_path: Path, line: str, needs: str
) -> None:
    with pytest.raises(UsageError) as caught:
        registered(tmp_path, NET + MAKE + line + "\n")
    assert needs in caught.value.needs and "mine.py" in caught.value.got
    assert any(f"Correct {name}" == caught.value.do for name in line.partition(" =")[0].split(", "))


def test_a_file_without_declarations_is_as_usual_and_a_head_may_be_one_prefix(tmp_path: Path) -> None:
    item = registered(tmp_path, NET + MAKE)
    assert (item.preprocessing, item.output, item.head) == (Preprocessing(), Output(), ())
    assert registered(tmp_path, NET + MAKE + "HEAD = 'head'\n").head == ("head",)


# --- pictures ---------------------------------------------------------------------------------------------------------


def plain(item, classes: int, batch: torch.Tensor) -> torch.Tensor:
    """Logits of the network itself for a batch made by hand, laid out in memory as any batch is: another layout takes
    other kernels, which round otherwise.
    """
    net = item.build(classes)
    net.load_state_dict(dict(tensors_of(item, classes)))
    with torch.inference_mode():
        return net.eval().logits(batch.contiguous())


RGB = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float()
BGR = torch.from_numpy(np.ascontiguousarray(IMAGES[..., ::-1])).permute(0, 3, 1, 2).float()
CAFFE = (BGR - torch.tensor([103.0, 116.0, 123.0]).view(1, 3, 1, 1)) / torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("line", "batch"),
    [
        ("", RGB / 255),
        ("SCALE = 255", RGB),
        ("ORDER = 'BGR'", BGR / 255),
        ("SCALE, ORDER, MEAN, STD = 255, 'BGR', (103, 116, 123), (1, 2, 3)", CAFFE),
    ],
)
def test_pictures_reach_the_network_as_declared(tmp_path: Path, line: str, batch: torch.Tensor) -> None:
    item = registered(tmp_path, f"{NET}{MAKE}{line}\n")
    torch.testing.assert_close(bound(tmp_path, item, 4).logits(IMAGES), plain(item, 4, batch))
    assert (pictures(2, size=(20, 30)) == IMAGES).all()


STRIDED = net_with("nn.functional.avg_pool2d(self.checked(x), 4)") + "Net.checked = lambda self, x: (\n"
STRIDED += "    self.logits(x) if x.shape[-1] % 8 == x.shape[-2] % 8 == 0 else 1 / 0)\n"


def test_pictures_are_padded_to_multiples_by_their_edges_and_logits_cut_back(tmp_path: Path) -> None:
    item = registered(tmp_path, f"{STRIDED}PAD = 8\n")
    found = bound(tmp_path, item, 4).logits(IMAGES)
    edges = nn.functional.pad(RGB / 255, (0, 2, 0, 4), mode="replicate")
    whole = nn.functional.interpolate(
        nn.functional.avg_pool2d(plain(item, 4, edges), 4), size=(24, 32), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(found, whole[..., :20, :30])
    for size in ((1, 1), (8, 16), (9, 3)):
        assert bound(tmp_path, item, 4).logits(pictures(1, size=size)).shape == (1, 4, *size)
    with pytest.raises(ArchitectureError, match="failed on pictures of 30x20"):
        bound(tmp_path, registered(tmp_path, STRIDED), 4).logits(IMAGES)


def test_where_nothing_is_to_be_padded_no_bit_changes(tmp_path: Path) -> None:
    without, padded = (bound(tmp_path, registered(tmp_path, NET + MAKE + line), 4) for line in ("", "PAD = 10\n"))
    assert torch.equal(without.logits(IMAGES), padded.logits(IMAGES))
    wide = bound(tmp_path, registered(tmp_path, NET + MAKE + "PAD = 32\n"), 4).logits(IMAGES)
    torch.testing.assert_close(wide[..., :18, :28], without.logits(IMAGES)[..., :18, :28])


def test_pictures_are_resized_to_the_declared_size_and_logits_back(tmp_path: Path) -> None:
    item = registered(tmp_path, f"{NET}{MAKE}RESIZE = (16, 24)\n")
    small = nn.functional.interpolate(RGB / 255, (16, 24), mode="bilinear", antialias=True)
    expected = nn.functional.interpolate(plain(item, 4, small), size=(20, 30), mode="bilinear", align_corners=False)
    torch.testing.assert_close(bound(tmp_path, item, 4).logits(IMAGES), expected)


def test_a_network_made_for_one_size_tells_its_classes_at_that_size(tmp_path: Path) -> None:
    fixed = STRIDED.replace("def make(classes):\n    return Net(classes)", "def make():\n    return Net(5)")
    fixed = fixed.replace("x.shape[-1] % 8 == x.shape[-2] % 8 == 0", "x.shape[-2:] == (40, 24)")
    registered(tmp_path, fixed)
    with pytest.raises(ArchitectureError, match=r"failed on a picture of 64x64: ZeroDivisionError.*PAD or RESIZE"):
        recognise(shapes(5))
    registered(tmp_path, f"{fixed}RESIZE = (40, 24)\n")
    assert recognise(shapes(5)) == ("mine:make", 5)


WINDOWED = net_with("self.logits(x - x.mean((2, 3), keepdim=True))")
"""What it says of a pixel depends on all that it sees at a time."""


@pytest.mark.parametrize(
    ("side", "step", "size"),
    [(16, 8, (20, 30)), (8, 8, (16, 24)), (12, 5, (20, 30)), (24, 16, (20, 30)), (9, 2, (9, 14))],
)
def test_windows_slide_over_the_picture_and_are_averaged_where_they_overlap(
    tmp_path: Path, side: int, step: int, size: tuple[int, int]
) -> None:
    item = registered(tmp_path, f"{WINDOWED}WINDOW = ({side}, {step})\n")
    images = pictures(2, size=size)
    whole = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    height, width = size
    whole = nn.functional.pad(whole, (0, max(0, side - width), 0, max(0, side - height)), mode="replicate")
    height, width = whole.shape[2:]
    total, count = torch.zeros(2, 4, height, width), torch.zeros(height, width)
    for top in sorted({*range(0, height - side + 1, step), height - side}):
        for left in sorted({*range(0, width - side + 1, step), width - side}):
            place = ..., slice(top, top + side), slice(left, left + side)
            seen = whole[place]
            total[place] += plain(item, 4, seen - seen.mean((2, 3), keepdim=True))
            count[place] += 1
    expected = (total / count)[..., : size[0], : size[1]]
    network = bound(tmp_path, item, 4)
    torch.testing.assert_close(network.logits(images), expected)
    torch.testing.assert_close(network.differentiable(network.flat, images), expected)


def test_activations_of_a_picture_are_those_of_all_its_windows(tmp_path: Path) -> None:
    network = bound(tmp_path, registered(tmp_path, f"{WINDOWED}WINDOW = 12\n"), 4)
    with recorded(network.module) as seen:
        network.logits(IMAGES)
        second = _of_picture(seen["norm"], 1, 2)
        network.logits(IMAGES[1:])
    assert len(second) == 2 * 4 and torch.equal(second, seen["norm"])  # 20x30 in steps of 8


# --- outputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forward", "line"),
    [
        ("(x, z)", "OUTPUT = 1"),
        ("[x, x, z]", "OUTPUT = -1"),
        ("{'aux': x, 'main': z}", "OUTPUT = 'main'"),
        ("{0: x, 1: z}", "OUTPUT = 1"),
        ("__import__('types').SimpleNamespace(aux=x, main=z)", "OUTPUT = 'main'"),
        ("z.softmax(1)", "ACTIVATION = 'softmax'"),
        ("{'p': z.softmax(1)}", "OUTPUT, ACTIVATION = 'p', 'softmax'"),
        ("z.log_softmax(1)", ""),
        ("z.sigmoid()", "ACTIVATION = 'sigmoid'"),
    ],
)
def test_logits_are_found_where_they_are_declared_to_be(tmp_path: Path, forward: str, line: str) -> None:
    item = registered(tmp_path, f"{net_with(forward)}{line}\n")
    assert recognise(shapes(4)) == ("mine:make", 4)
    found, logits = bound(tmp_path, item, 4).logits(IMAGES), plain(item, 4, RGB / 255)
    torch.testing.assert_close(found.argmax(1), logits.argmax(1))
    if "sigmoid" not in forward:
        torch.testing.assert_close(found.softmax(1), logits.softmax(1), rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(found.sigmoid(), logits.sigmoid(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("forward", "line"), [("z", ""), ("z.sigmoid()", "ACTIVATION = 'sigmoid'")])
def test_a_single_output_is_two_classes(tmp_path: Path, forward: str, line: str) -> None:
    item = registered(tmp_path, f"{net_with(forward)}{line}\n")
    assert recognise(shapes(1)) == ("mine:make", 1) and item.label_space(1) == "classes-2"
    found, logit = bound(tmp_path, item, 1).logits(IMAGES), plain(item, 1, RGB / 255)
    assert found.shape == (2, 2, 20, 30) and not found[:, 0].any()
    torch.testing.assert_close(found.softmax(1)[:, 1:], logit.sigmoid(), rtol=1e-4, atol=1e-5)
    assert torch.equal(found.argmax(1), (logit[:, 0] > 0).long())


def test_probabilities_of_0_and_1_stay_numbers_and_numbers_that_are_none_are_refused() -> None:
    ends = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    for activation in ("softmax", "sigmoid"):
        about = Output(activation=activation)
        assert logits_of(ends, about).isfinite().all() and logits_of(ends, about).argmax(1).item() == 1
        with pytest.raises(ArchitectureError, match=r"numbers from -3 to 2"):
            logits_of(torch.tensor([-3.0, 2.0]).view(1, 2, 1, 1), about)
    half = logits_of(torch.tensor([[[[1.0]], [[1e-7]]]], dtype=torch.float16), Output(activation="softmax"))
    assert half.dtype == torch.float32 and half.isfinite().all()


LOGITS = torch.zeros(1, 3, 4, 5)


@pytest.mark.parametrize(
    ("output", "key", "says"),
    [
        ({"aux": LOGITS, "main": None}, None, "a dict with 'aux': (1, 3, 4, 5), 'main': None"),
        ({"aux": LOGITS}, "main", "OUTPUT is 'main'"),
        ((LOGITS, LOGITS), 2, "a tuple with 0: (1, 3, 4, 5), 1: (1, 3, 4, 5), and OUTPUT is 2"),
        (LOGITS[0], None, "a tensor of shape (3, 4, 5)"),
        (LOGITS.long(), None, "a tensor of shape (1, 3, 4, 5) of int64"),
        (LOGITS, "aux", "a tensor of shape (1, 3, 4, 5), and OUTPUT is 'aux'"),
        (LOGITS, 0, "OUTPUT is 0"),
        (None, None, "returned None"),
        ({}, None, "an empty dict"),
        (object(), None, "an object of class object"),
        ({str(number): number for number in range(9)}, None, "'5': int and 3 more"),
    ],
)
def test_a_wrong_output_says_its_shape_or_its_keys(output: object, key: str | int | None, says: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        logits_of(output, Output(key))
    assert says in caught.value.got and "OUTPUT" in caught.value.do
    if isinstance(output, dict) and "aux" in output:
        assert "OUTPUT = 'aux'" in caught.value.do


def test_channels_that_are_not_the_classes_say_their_shape(tmp_path: Path) -> None:
    item = registered(tmp_path, net_with("torch.cat((z, z), 1)"))
    with pytest.raises(ArchitectureError) as caught:
        bound(tmp_path, item, 4).logits(IMAGES)
    assert "(2, 8, 20, 30)" in caught.value.got and "4 channels" in caught.value.needs


# --- wherever pictures run --------------------------------------------------------------------------------------------

STAGES = """
from fusionlib.contracts import Stage
def stages(net):
    assert net.body.weight.shape[2:] == (3, 3)
    def body(x):
        assert x.shape[-1] % 8 == x.shape[-2] % 8 == 0
        return net.body(x)
    return (Stage("body", body), Stage("norm", net.norm),
            Stage("head", lambda x: {"aux": None, "main": net.head(x).softmax(1)}))
"""
ALL = "SCALE, ORDER, PAD, OUTPUT, ACTIVATION = 255, 'BGR', 8, 'main', 'softmax'\n"


@pytest.fixture
def everything(tmp_path: Path):
    """A network with all of it, and one that does the same by itself."""
    forward = "{'aux': None, 'main': z.softmax(1)}"
    item = registered(tmp_path, net_with(forward) + ALL + STAGES)
    by_hand = net_with("self.logits(nn.functional.pad(x.flip(1) * 255, (0, 2, 0, 4), mode='replicate'))[..., :20, :30]")
    return bound(tmp_path, item, 4), bound(tmp_path, registered(tmp_path, by_hand, name="by_hand"), 4)


def test_frames_measurements_and_stages_honour_it(everything) -> None:
    network, same = everything
    expected = same.logits(IMAGES).softmax(1)
    assert [stage.name for stage in network.trail._stages] == ["body", "norm", "head"]
    calls: list[object] = []
    for logits in (
        network.logits(IMAGES),
        network.logits(IMAGES, resume=True),
        network.logits(IMAGES, resume=True),
        network.logits(IMAGES, run=lambda call: (calls.append(1), call())[1]),
    ):
        torch.testing.assert_close(logits.softmax(1), expected, rtol=1e-3, atol=1e-4)
    assert network.trail.began == "head" and len(calls) == 5


def test_recalibration_fisher_information_and_activations_honour_it(everything) -> None:
    network, same = everything
    with recorded(network.module) as seen, recorded(same.module) as others:
        network.logits(IMAGES)
        same.logits(IMAGES)
    torch.testing.assert_close(seen["norm"], others["norm"])
    values = [
        picture_information(one, IMAGES[0], "sampled", torch.Generator().manual_seed(3)).double() for one in everything
    ]
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-6)
    assert values[0].count_nonzero() > 100
    torch.testing.assert_close(recalibrate(network, [IMAGES]), recalibrate(same, [IMAGES]))


def test_fisher_information_leaves_out_what_sees_only_the_padding(tmp_path: Path) -> None:
    network = bound(tmp_path, registered(tmp_path, f"{STRIDED}PAD = 8\n"), 4)
    assert network.differentiable(network.flat, IMAGES).shape == (2, 4, 5, 8)
    assert network.differentiable(network.flat, pictures(1, size=(17, 8))).shape == (1, 4, 5, 2)


def test_training_crops_are_prepared_the_same_way() -> None:
    class Data:
        def __len__(self) -> int:
            return 2

        def load(self, index: int, whole: bool):
            return type("S", (), {"image": IMAGES[index], "truth": np.zeros((20, 30), np.uint8), "name": "p"})

    about = Preprocessing(scale=255, order="BGR", pad=8)
    batch, *_ = CropSampler(Data(), (20, 30), 2, 0).epoch(0)  # type: ignore[arg-type]
    images = Inputs(about, torch.device("cpu")).prepare(batch.images)
    assert images.shape == (2, 3, 24, 32) and batch.truths.shape == (2, 20, 30)
    first = {float(image[0, 0, 0]) for image in images}
    assert first <= {float(picture[0, column, 2]) for picture in IMAGES for column in (0, 29)}


@pytest.mark.parametrize(
    "line",
    [
        "SCALE = 255",
        "ORDER = 'BGR'",
        "PAD = 32",
        "RESIZE = (8, 8)",
        "WINDOW = 8",
        "OUTPUT = 'out'",
        "ACTIVATION = 'softmax'",
    ]
    + ["LABEL_SPACE = ['a', 'b', 'c', 'd']", "LABEL_SPACE, LABEL_MAP = list('abcd'), {'a': 'b'}"],
)
def test_every_declaration_is_part_of_the_keys_of_results(tmp_path: Path, line: str) -> None:
    known = []
    for text in ("", line):
        item = registered(tmp_path, f"{NET}{MAKE}{text}\n")
        item.code = "equal"
        known.append((identities([(item, 4)], None), architecture_key(item, 4)))
    assert known[0][0] != known[1][0] and known[0][1] != known[1][1]
