"""`--trust FILE`: programs of torch.export and TorchScript run, on the tensors of any checkpoint that they fit."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, TinyNet, folder_data, pictures, tiny_tensors
from torch import Tensor, nn
from torch.export import Dim

from fusionlib.architectures.program_sizes import Side, Sizes
from fusionlib.architectures.programs import Program, TrustedProgram, trust_again, trust_programs, with_fingerprints
from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, Preprocessing
from fusionlib.engine.identity import architecture_key
from fusionlib.engine.inputs import Inputs
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError, UsageError
from fusionlib.options import app_options
from fusionlib.studio.plans import process_options

pytestmark = [pytest.mark.usefixtures("architectures"), pytest.mark.filterwarnings("ignore")]

OPEN = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}


def network(seed: int = 1) -> nn.Module:
    made = TinyNet(3).eval()
    made.load_state_dict(tiny_tensors(seed))
    return made


def exported(path: Path, size: tuple[int, ...], sizes: Any = None, net: nn.Module | None = None) -> Path:
    shapes = None if sizes is None else {"x": sizes}
    torch.export.save(torch.export.export(net or network(), (torch.rand(*size),), dynamic_shapes=shapes), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A program of each kind, of the same network."""
    folder = tmp_path_factory.mktemp("programs")
    torch.jit.script(network()).save(str(folder / "script.pt"))  # type: ignore[union-attr]
    torch.jit.trace(network(), torch.rand(1, 3, 64, 64)).save(str(folder / "trace.pt"))  # type: ignore[union-attr]
    exported(folder / "open.pt2", (2, 3, 64, 96), OPEN)
    exported(folder / "fixed.pt2", (1, 3, 64, 96))
    exported(folder / "square.pt2", (2, 3, 64, 64))
    exported(folder / "steps.pt2", (2, 3, 64, 96), {0: Dim("n"), 2: 32 * Dim("h", max=4), 3: 32 * Dim("w")})
    return {path.stem: path for path in folder.iterdir()}


def trusted(path: Path) -> TrustedProgram:
    item: Any = ARCHITECTURES.get(trust_programs([path])[0])
    return item


def bound(item: TrustedProgram, checkpoint: Checkpoint) -> BoundNetwork:
    arena = Arena.pack([checkpoint])
    found = BoundNetwork(item, 3, arena.layout, arena.integers[0], device=CPU)
    found.load(arena.weights[0])
    return found


# --- what runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["script", "trace", "open", "fixed", "square", "steps"])
def test_a_program_is_the_network_with_whatever_tensors_it_is_given(
    kind: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """Against the module itself on what goes in; several pictures, where it was exported for one or two at a time."""
    item = trusted(made[kind])
    torch.save(tiny_tensors(2), tmp_path / "other.pth")
    other = open_checkpoint(tmp_path / "other.pth")
    assert recognise(other.shapes) == (made[kind].name, 3)
    ours, images = bound(item, other), pictures(3, size=(70, 110))
    reference = network(2)
    for seed in (2, 3):
        torch.save(tiny_tensors(seed), tmp_path / "next.pth")
        ours.load(Arena.pack([open_checkpoint(tmp_path / "next.pth")]).weights[0])
        reference.load_state_dict(tiny_tensors(seed))
        about = Inputs(item.preprocessing, CPU)
        with torch.inference_mode():
            expected = about.at_size(reference(about.prepare(images)), (70, 110), (70, 110))
        torch.testing.assert_close(ours.logits(images), expected, rtol=1e-4, atol=1e-5)
    again = ours.logits(images)
    assert torch.equal(again, ours.logits(images)), "the same every time"


def test_sizes_that_were_fixed_are_what_pictures_become(made: dict[str, Path]) -> None:
    assert trusted(made["fixed"]).preprocessing == Preprocessing(resize=(64, 96))
    assert trusted(made["square"]).preprocessing == Preprocessing(window=(64, 42))
    assert trusted(made["steps"]).preprocessing == Preprocessing(pad=32)
    for kind in ("open", "script", "trace"):
        assert trusted(made[kind]).preprocessing == Preprocessing()


def test_a_picture_that_it_does_not_take_is_refused_with_what_it_takes(made: dict[str, Path], tmp_path: Path) -> None:
    torch.save(tiny_tensors(1), tmp_path / "a.pth")
    ours = bound(trusted(made["steps"]), open_checkpoint(tmp_path / "a.pth"))
    with pytest.raises(ArchitectureError) as caught:
        ours.logits(np.zeros((1, 200, 64, 3), np.uint8))
    assert "64x224" in caught.value.got and "64 to 128 in multiples of 32" in caught.value.needs
    assert "steps.pt2.yaml" in caught.value.do


def test_gradients_reach_the_weights(made: dict[str, Path], tmp_path: Path) -> None:
    torch.save(tiny_tensors(1), tmp_path / "a.pth")
    for kind in ("script", "open"):
        ours = bound(trusted(made[kind]), open_checkpoint(tmp_path / "a.pth"))
        weights = ours.flat.clone().requires_grad_()
        ours.differentiable(weights, pictures(1)).square().sum().backward()
        assert weights.grad is not None and weights.grad.count_nonzero() > 100


@pytest.mark.parametrize(
    ("side", "takes"),
    [(Side(8, 8), {8}), (Side(5, 20, 5), {5, 10, 15, 20}), (Side(30), set(range(30, 41))), (Side(), set(range(1, 41)))],
)
def test_a_side_takes_what_it_says_and_the_nearest_of_it(side: Side, takes: set[int]) -> None:
    assert {length for length in range(1, 41) if side.takes(length)} == takes
    assert all(Sizes(Side(), side, side).nearest(length, length)[0] in takes for length in range(1, 41))


def test_answers_in_dicts_and_tuples_are_put_together_too() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return {"out": x[:, :2], "more": (x.mean((2, 3)), "text")}

    found = Program(Two(), Sizes(Side(2, 2)), "two")(whole := torch.rand(5, 3, 4, 4))
    assert torch.equal(found["out"], whole[:, :2]) and torch.equal(found["more"][0], whole.mean((2, 3)))


# --- which file, and what is declared beside it ----------------------------------------------------------------------


def test_what_runs_is_the_file_as_it_was_named(made: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(made["script"].read_bytes())
    item, key = trusted(path), hashlib.sha256(made["script"].read_bytes()).hexdigest()
    assert item.code == f"program {key}" and item.named == "--trust net.pt"
    assert with_fingerprints([path]) == ((str(path), key),)
    path.write_bytes(b"another file since")
    assert recognise(open_checkpoint(made["trace"]).shapes) == ("net.pt", 3)
    assert isinstance(item.build(3), Program)
    trust_again([(str(path), key)])  # which is there: nothing is read
    with pytest.raises(UsageError, match="other bytes"):
        trust_again([(str(path), "0" * 64)])


def test_another_program_of_the_same_tensors_has_answers_of_its_own(made: dict[str, Path]) -> None:
    keys = {architecture_key(trusted(made[kind]), 3) for kind in ("script", "trace", "open")}
    assert len(keys) == 3


def test_declarations_beside_it_are_those_of_a_model_file(made: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(made["open"].read_bytes())
    beside = tmp_path / "net.pt2.yaml"
    beside.write_text("MEAN: [0.3, 0.4, 0.5]\nSTD: [2, 2, 2]\nPAD: 16\nHEAD: [head]\nLABEL_SPACE: [road, car, sky]\n")
    item = trusted(path)
    assert item.preprocessing == Preprocessing((0.3, 0.4, 0.5), (2.0, 2.0, 2.0), pad=16) and item.head == ("head",)
    assert getattr(item.label_space(3), "space", None) == ("road", "car", "sky")
    for text, said in (
        ("MEANS: [1, 1, 1]", "MEANS"),
        ("- 1", "no table"),
        ("{", "net.pt2.yaml"),
        ("SCALE: 2", "SCALE"),
        ("5: 1", "has 5"),
        ("LABEL_SPACE: [a, A, b]", "LABEL_SPACE"),
    ):
        beside.write_text(text)
        with pytest.raises(UsageError) as caught:
            trust_programs([path])
        assert said in caught.value.got


def test_a_size_that_the_program_does_not_take_is_refused_at_the_start(made: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(made["fixed"].read_bytes())
    (tmp_path / "net.pt2.yaml").write_text("RESIZE: [96, 64]")
    with pytest.raises(UsageError, match=r"pictures 64x96\. Needs: 96x64"):
        trust_programs([path])
    (tmp_path / "net.pt2.yaml").write_text("RESIZE: [64, 96]")
    assert trusted(path).preprocessing == Preprocessing(resize=(64, 96))


class TwoPictures(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def odd_export(net: nn.Module, *inputs: Tensor) -> Callable[[Path], object]:
    return lambda path: torch.export.save(torch.export.export(net, inputs), path)


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (odd_export(TwoPictures(), torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)), "2 inputs"),
        (odd_export(Half(), torch.rand(1, 3, 8, 8).half()), "float16"),
        (odd_export(Half(), torch.rand(1, 1, 8, 8)), "('1', '1', '8', '8')"),
        (odd_export(nn.Flatten(), torch.rand(1, 3, 8, 8)), "shape (1, 192)"),
        (odd_export(TinyNet(3), torch.rand(1, 3, 16, 16)), "training mode: running it changes norm.running_mean"),
        (
            lambda path: torch.jit.trace(nn.Dropout(0.5), torch.rand(1, 3, 8, 8), check_trace=False).save(path),
            "numbers",
        ),
        (lambda path: path.write_bytes(b"text"), "no program"),
        (lambda path: torch.save(tiny_tensors(1), path), "no program"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: None, "No such file"),
    ],
)
def test_what_is_no_program_of_pictures_is_refused_at_the_start(
    save: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.pt2"
    save(path)
    with pytest.raises(UsageError) as caught:
        trust_programs([path])
    assert said in caught.value.got and "odd.pt2" in caught.value.got and "odd.pt2" not in ARCHITECTURES


def test_a_damaged_program_is_refused_in_words(made: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("script", "open"):
        with zipfile.ZipFile(made[kind]) as source, zipfile.ZipFile(tmp_path / "odd.pt", "w") as out:
            for name in source.namelist():
                out.writestr(name, source.read(name) if "weight" not in name and "data.pkl" not in name else b"x")
        with pytest.raises(UsageError, match=r"odd\.pt failed"):
            trust_programs([tmp_path / "odd.pt"])


def test_two_programs_of_one_name_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "open.pt2").write_bytes(made["open"].read_bytes())
    with pytest.raises(UsageError, match=r"another one is called open\.pt2"):
        trust_programs([made["open"], tmp_path / "open.pt2"])
    assert trust_programs([made["open"], made["open"]]) == ("open.pt2", "open.pt2")


# --- in use ----------------------------------------------------------------------------------------------------------


def test_options_name_it(made: dict[str, Path]) -> None:
    options = app_options(["--trust", "a.pt2", "--trust", "b.pt"])
    assert options.trusted == (Path("a.pt2"), Path("b.pt"))
    assert process_options(options)[:2] == ("--trust=a.pt2", "--trust=b.pt")


def test_programs_merge_without_and_are_measured_with_it(
    made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(tiny_tensors(2), tmp_path / "b.pth")
    files = [str(made["script"]), str(tmp_path / "b.pth")]
    main(["merge", *files, "--alpha", "0.5", "--out", str(tmp_path / "m.safetensors")])
    data = ["--data", f"folder:{folder_data(tmp_path / 'data', 2)}", "--home", str(tmp_path / "home"), "--json"]
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "m.safetensors"), *data])
    capsys.readouterr()
    main(["evaluate", str(tmp_path / "m.safetensors"), *data, "--trust", files[0]])
    assert json.loads(capsys.readouterr().out)["forward_passes"] == 2
    main(["inspect", *files, "--json"])
    notes = json.loads(capsys.readouterr().out)["checkpoints"][0]["notes"]
    assert any("nothing was run" in note and "--trust script.pt" in note for note in notes)


def test_a_built_in_network_goes_on_where_no_program_is_named(made: dict[str, Path]) -> None:
    before = recognise(open_checkpoint(made["script"]).shapes)
    trust_programs([made["script"]])
    known = network_of(open_checkpoint(made["open"]).shapes)
    assert before is None and known is not None and known[0].title == "script.pt"


def test_nothing_of_a_program_is_read_from_elsewhere(made: dict[str, Path]) -> None:
    """The architecture is made of the bytes that it was given, whatever its path holds."""
    item = TrustedProgram(Path("not-there.pt"), made["trace"].read_bytes())
    assert item.recognise({name: tuple(tensor.shape) for name, tensor in tiny_tensors(1).items()}) == 3
    assert torch.jit.load(io.BytesIO(made["trace"].read_bytes()))
