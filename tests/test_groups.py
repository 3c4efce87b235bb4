"""Files that hold more than one network: which group of names is taken, what is set aside, and how another one is
chosen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fusionlib.architectures.nearest import explanations
from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.compare import preflight
from fusionlib.checkpoints.groups import Choice, agreed, name_tensors
from fusionlib.checkpoints.prefixes import rank_of
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint, open_checkpoints
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES
from fusionlib.errors import ChangedCheckpointError, CheckpointError, UsageError
from fusionlib.studio import Options, Workspace, app_options
from tests.helpers import folder_data, tiny_registered, tiny_tensors
from tests.page_tools import opened

KNOWN = Choice(recognise=recognise)
NET = tiny_tensors(1)
MEAN = {"mean": torch.zeros(3), "std": torch.ones(3)}


def under(prefix: str, tensors: Mapping[str, Tensor] = NET, shift: float = 0) -> dict[str, Tensor]:
    return {prefix + name: tensor + shift if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def twins(tensors: Mapping[str, Tensor], shift: float) -> dict[str, Tensor]:
    """What mmcv's EMA hook registers: parameters only, dots as underscores."""
    return {
        f"ema_{name.replace('.', '_')}": tensor + shift
        for name, tensor in tensors.items()
        if name.endswith(("weight", "bias"))
    }


def file(folder: Path, content: Any, name: str = "a", choice: Choice = KNOWN) -> Checkpoint:
    if not (folder / f"{name}.pth").exists():
        torch.save(content, folder / f"{name}.pth")
    with tiny_registered():
        return open_checkpoint(folder / f"{name}.pth", choice=choice)


def shift_of(checkpoint: Checkpoint) -> float:
    """Which copy it is: 0 the student, 1 an average, 2 another."""
    return round(float((checkpoint.read("head.weight") - NET["head.weight"]).mean()), 3)


AS_WRITTEN = {
    "plain": under(""),
    "parallel": under("module."),
    "compiled": under("module._orig_mod."),
    "lightning": under("net."),
    "own normalisation": under("model.") | MEAN,
    "the same, unprefixed": under("") | MEAN,
    "loss beside": under("model.") | {"criterion.weight": torch.ones(3), "class_weights": torch.ones(3)},
    "only an average": under("ema.module."),
    "an average with its counters": under("ema.module.") | {"ema.decay": torch.ones(())},
    "swa": under("module.") | {"n_averaged": torch.tensor(4)},
    "lightning with an average": (
        under("model.") | under("ema.module.", shift=1) | {"ema.num_updates": torch.tensor(4)} | MEAN
    ),
    "an average beside plain names": under("") | under("ema.module.", shift=1),
    "student and teacher": under("teacher.", shift=1) | under("student."),
    "hrda": under("model.") | under("ema_model.", shift=1) | under("imnet_model.", shift=2),
    "hrda in parallel": under("module.model.") | under("module.ema_model.", shift=1),
    "an average beside a network of another name": under("segmentor.") | under("ema.", shift=1),
    "mmcv": under("") | twins(NET, 1),
    "deep": under("trainer.task.net.") | {"trainer.scale": torch.ones(1)},
    "keys": {"model": under(""), "ema": under("", shift=1), "epoch": 3},
    "keys with prefixes": {
        "ema_state_dict": under("module.", shift=1) | {"n_averaged": torch.tensor(4)},
        "state_dict": under("module."),
    },
    "one set under two keys": dict.fromkeys(("model", "state_dict"), under("")),
    "unusual keys": {"segmenter": under(""), "critic": {"w": torch.ones(2)}},
}


@pytest.mark.parametrize("how", AS_WRITTEN)
def test_the_same_network_as_other_tools_write_it(tmp_path: Path, how: str) -> None:
    opened = file(tmp_path, AS_WRITTEN[how])
    with tiny_registered():
        assert recognise({name: info.shape for name, info in opened.tensors.items() if name in NET}) == ("tiny", 3)
    assert set(NET) <= set(opened.tensors) <= set(NET) | set(MEAN)
    assert shift_of(opened) == 0
    plain = file(tmp_path, NET, "plain")
    with tiny_registered():
        pair = open_checkpoints([opened.path, plain.path], choice=KNOWN)
    assert preflight(pair, recognise, explanations).compatible
    assert len(Arena.pack(pair).layout.order) == len(NET)


@pytest.mark.parametrize(
    "how", [how for how in AS_WRITTEN if how not in ("deep", "lightning", "loss beside", "unusual keys")]
)
def test_names_or_the_other_file_decide_where_no_network_is_known(tmp_path: Path, how: str) -> None:
    for name, content in (("a", AS_WRITTEN[how]), ("plain", NET)):
        torch.save(content, tmp_path / f"{name}.pth")
    pair = open_checkpoints([tmp_path / "a.pth", tmp_path / "plain.pth"])
    assert preflight(pair, recognise, explanations).compatible and shift_of(pair[0]) == 0


def test_what_is_set_aside_is_said(tmp_path: Path) -> None:
    notes = file(tmp_path, under("model.") | under("ema.module.", shift=1) | MEAN).notes
    assert notes[0] == "the student 'model.*' taken; left out: 'ema.*' (16 tensors), mean, std"
    assert notes[1].startswith(
        "other groups: ema.module; taken with --group (rule: the trained network before averages"
    )
    loss = file(tmp_path, AS_WRITTEN["loss beside"], "b").notes
    assert loss == ("'model.*' taken; left out: 'criterion.*' (1 tensor), class_weights",)


@pytest.mark.parametrize(
    ("how", "group", "shift"),
    [
        ("hrda", "ema", 1),
        ("hrda", "ema_model", 1),
        ("hrda", "imnet", 2),
        ("hrda", "model", 0),
        ("hrda in parallel", "ema", 1),
        ("lightning with an average", "ema", 1),
        ("lightning with an average", "ema.module", 1),
        ("student and teacher", "teacher", 1),
        ("an average beside plain names", "ema", 1),
        ("an average beside a network of another name", "ema", 1),
        ("mmcv", "ema", 1),
        ("keys", "ema", 1),
        ("keys", "model", 0),
        ("keys with prefixes", "ema", 1),
        ("own normalisation", "model", 0),
    ],
)
@pytest.mark.parametrize("choice", [Choice(), KNOWN], ids=["unknown", "known"])
def test_the_user_chooses(tmp_path: Path, how: str, group: str, shift: float, choice: Choice) -> None:
    default = file(tmp_path, AS_WRITTEN[how], choice=choice)
    chosen = file(tmp_path, AS_WRITTEN[how], choice=Choice((group,), choice.recognise))
    assert shift_of(chosen) == shift and set(chosen.tensors) == set(NET)
    assert (chosen.fingerprint == default.fingerprint) == (shift == 0), (
        "results of one group are never taken for those of another"
    )
    assert chosen.naming.group is not None
    again = open_checkpoint(chosen.path, choice=Choice((chosen.naming.group,)))
    assert (again.shapes, again.fingerprint) == (
        chosen.shapes,
        chosen.fingerprint,
    ), "a recipe names the group so that it comes back"
    assert shift_of(default.take(group)) == shift


def test_averages_of_parameters_alone_keep_the_statistics_of_the_network(tmp_path: Path) -> None:
    chosen = file(tmp_path, AS_WRITTEN["mmcv"], choice=Choice(("ema",)))
    assert torch.equal(chosen.read("norm.running_var"), NET["norm.running_var"])
    assert torch.equal(chosen.read("norm.weight"), NET["norm.weight"] + 1)
    assert "9 tensors); the other 7 are the student's" in chosen.notes[0] and list(chosen.tensors) == list(NET)
    names = dict.fromkeys(("b.c", "b.d", "ema_b_c", "ema_b_d"), (1,))
    assert name_tensors("x", names, "ema").notes == ("the averages ema_* taken (2 tensors)",)


def test_a_group_may_be_named_for_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.save(AS_WRITTEN["hrda"], tmp_path / f"{name}.pth")
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    assert [shift_of(item) for item in open_checkpoints(paths, choice=Choice(("b.pth=ema",)))] == [0, 1]
    assert [shift_of(item) for item in open_checkpoints(paths, choice=Choice(("ema", "b=model")))] == [1, 0]
    with pytest.raises(UsageError, match="FILE=GROUP"):
        Choice(("c.pth=ema",)).check(paths)
    Choice(("b.pth=ema", "ema")).check(paths)


@pytest.mark.parametrize(
    ("how", "group", "words"),
    [
        ("hrda", "swa", "one of model, ema_model, imnet_model"),
        ("plain", "ema", "--group FILE=GROUP"),
        ("mmcv", "swa", r"ema_\*"),
        ("keys", "teacher", "one of model, ema"),
        ("hrda", "ema.", "no group"),
        ("hrda", "nothing::", "no group"),
    ],
)
def test_a_group_that_is_not_there(tmp_path: Path, how: str, group: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        file(tmp_path, AS_WRITTEN[how], choice=Choice((group,)))


def test_several_sets_and_nothing_that_decides(tmp_path: Path) -> None:
    content = {"generator": {"w": torch.ones(2)}, "critic": {"w": torch.zeros(2)}}
    with pytest.raises(CheckpointError, match=r"generator, critic.*--group generator"):
        file(tmp_path, content)
    assert file(tmp_path, content, choice=Choice(("critic",))).read("w").tolist() == [0, 0]


def test_a_network_whose_own_names_look_like_wrappers(tmp_path: Path) -> None:
    """A user's class may keep its network in `self.model`, and an attention module may be called `ema`."""

    class Wrapped:
        head = ()

        def recognise(self, shapes):
            return 3 if {f"model.{name}" for name in NET} <= set(shapes) else None

    with pytest.MonkeyPatch.context() as patch:
        ARCHITECTURES.names()
        patch.setattr(ARCHITECTURES, "_items", {"wrapped": Wrapped()})
        for content in (under("model."), under("module.model."), under("model.") | {"ema.conv": torch.ones(1)}):
            torch.save(content, tmp_path / "a.pth")
            assert set(open_checkpoint(tmp_path / "a.pth", choice=KNOWN).tensors) >= {f"model.{name}" for name in NET}


def test_a_head_is_never_given_up_for_another_file(tmp_path: Path) -> None:
    """A backbone alone beside a whole network, and two networks that share a backbone, stay what they are."""
    backbone = {name: tensor for name, tensor in NET.items() if not name.startswith("head")}
    whole = under("backbone.", backbone) | {"head.weight": NET["head.weight"], "head.bias": NET["head.bias"]}
    other = under("backbone.", backbone) | {"decoder.weight": torch.ones(4, 4)}
    for name, content in (("whole", whole), ("other", other), ("backbone", backbone)):
        save_tensors(tmp_path / f"{name}.safetensors", content)
    opened = open_checkpoints([tmp_path / f"{name}.safetensors" for name in ("whole", "other", "backbone")])
    assert [set(item.tensors) for item in opened] == [set(whole), set(other), set(backbone)]


def test_two_files_of_one_unknown_network_agree(tmp_path: Path) -> None:
    for name, beside in (("a", MEAN), ("b", {"temperature": torch.ones(1)})):
        save_tensors(tmp_path / f"{name}.safetensors", under("net.") | beside)
    pair = open_checkpoints([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])
    assert [set(item.tensors) for item in pair] == [set(NET)] * 2
    assert agreed([(item._shapes, item.naming) for item in pair]) == [None, None]


def test_renames_come_last_and_count_in_the_fingerprint(tmp_path: Path) -> None:
    content = under("model.", {name.replace("stem", "conv1"): tensor for name, tensor in NET.items()}) | MEAN
    plain, renamed = (
        file(tmp_path, content),
        file(tmp_path, content, choice=Choice(recognise=recognise, rename={"^conv1": "stem"})),
    )
    assert set(renamed.tensors) == set(NET) and "1 tensor renamed" in renamed.notes
    assert plain.fingerprint != renamed.fingerprint
    with pytest.raises(UsageError, match="Rename"):
        file(tmp_path, content, choice=Choice(rename={"(": "x"}))


def test_another_group_is_of_the_same_snapshot(tmp_path: Path) -> None:
    """Also of shards: a changed index or shard makes every group of them old, and no group gives numbers of another
    content.
    """
    save_tensors(tmp_path / "one.safetensors", under("model."))
    save_tensors(tmp_path / "two.safetensors", under("ema_model.", shift=1))
    listing = {
        prefix + name: f"{file}.safetensors"
        for prefix, file in (("model.", "one"), ("ema_model.", "two"))
        for name in NET
    }
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": listing}))
    student = open_checkpoint(tmp_path)
    average = student.take("ema")
    assert (shift_of(student), shift_of(average)) == (0, 1) and student.fingerprint != average.fingerprint
    assert torch.equal(average.piece("head.weight", 1, 3), average.read("head.weight").flatten()[1:3])
    assert student.is_current() and average.is_current()
    index.write_text(json.dumps({"weight_map": dict(reversed(listing.items()))}))
    assert not student.is_current() and not average.is_current()
    content = bytearray((tmp_path / "two.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "two.safetensors").write_bytes(content)
    with pytest.raises(ChangedCheckpointError, match=r"two\.safetensors was changed"):
        average.read("head.weight")


def test_further_networks_follow_a_file_that_is_written_again(tmp_path: Path) -> None:
    torch.save(under("model.") | under("ema_model.", shift=1), tmp_path / "run.pth")
    with tiny_registered():
        shown = workspace(tmp_path)
        shown.show_groups(["run: ema_model"])
        torch.save(under("model.") | under("ema_model.", shift=2), tmp_path / "run.pth")
        shown.refresh_checkpoints()
        assert [shift_of(shown.get(name).checkpoint) for name in ("run", "run (ema_model)")] == [0, 2]


WORDS = st.sampled_from(
    [
        "a",
        "b",
        "model",
        "module",
        "ema",
        "teacher",
        "net",
        "weight",
        "mean",
        "_orig_mod",
        "ema_model",
        "ema_a_b",
        "x::y",
    ]
)
NAMES = st.lists(st.lists(WORDS, min_size=1, max_size=5).map(".".join), min_size=1, max_size=12, unique=True)


@given(NAMES, st.sampled_from([None, "ema", "model", "", "net.", "ema_*"]))
def test_any_names_give_one_network_or_a_refusal(names: list[str], group: str | None) -> None:
    shapes = {name: (number % 3,) for number, name in enumerate(names)}
    try:
        naming = name_tensors("file", shapes, group)
    except CheckpointError:
        return
    assert naming.clean and set(naming.clean) <= set(names)
    assert all(
        stored.endswith(clean) or group == "ema_*" or naming.group == "ema_*" for stored, clean in naming.clean.items()
    )
    if naming.group is not None and len(set(naming.clean.values())) == len(naming.clean):
        assert name_tensors("file", shapes, naming.group).clean == naming.clean
    assert agreed([(shapes, naming), (shapes, naming)]) == [None, None]


def test_names_without_end_end(tmp_path: Path) -> None:
    shapes = {"ema." * 50_000 + "w": (1,), "module." * 50_000 + "w": (1,)}
    for one in (shapes, dict(list(shapes.items())[:1])):
        assert name_tensors("file", one, recognise=lambda _: None).clean
        with pytest.raises(CheckpointError):
            name_tensors("file", one, "swa")


def test_ranks() -> None:
    groups = ["imnet_model", "ema", "model", "ema_head", "state_dict", "student", "segmentor", "teacher"]
    assert sorted(groups, key=rank_of) == [
        "student",
        "state_dict",
        "model",
        "ema_head",
        "segmentor",
        "ema",
        "teacher",
        "imnet_model",
    ]


# --- where people choose ----------------------------------------------------------------------------------------------


def test_every_verb_that_opens_checkpoints_takes_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("inspect", "diagnose", "layers", "compare", "merge", "evaluate", "sweep", "train"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        assert "--group [FILE=]GROUP" in capsys.readouterr().out, verb


def test_a_recipe_names_the_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("a", AS_WRITTEN["hrda"]), ("b", AS_WRITTEN["own normalisation"])):
        torch.save(content, tmp_path / f"{name}.pth")
    out, again = tmp_path / "out.safetensors", tmp_path / "again.safetensors"
    main(
        [
            "merge",
            str(tmp_path / "a.pth"),
            str(tmp_path / "b.pth"),
            "--alpha",
            "1",
            "--group",
            "a.pth=ema",
            "--out",
            str(out),
            "--save-recipe",
            str(tmp_path / "r.yaml"),
        ]
    )
    assert torch.equal(open_checkpoint(out).read("head.weight"), NET["head.weight"] + 1)
    assert "group: ema_model." in (tmp_path / "r.yaml").read_text()
    main(["merge", str(tmp_path / "r.yaml"), "--out", str(again)])
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(SystemExit):
        main(["merge", str(tmp_path / "r.yaml"), "--group", "ema", "--out", str(again)])
    assert "a recipe alone" in capsys.readouterr().err


def test_a_figure_of_one_group_is_never_given_for_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(under("model.") | under("ema_model.", shift=1), tmp_path / "a.pth")
    spec, home = f"folder:{folder_data(tmp_path / 'data', 1)}", str(tmp_path / "home")
    figures = []
    with tiny_registered():
        for more in ([], ["--group", "ema"], ["--group", "model"]):
            main(
                [
                    "evaluate",
                    str(tmp_path / "a.pth"),
                    "--data",
                    spec,
                    "--home",
                    home,
                    "--device",
                    "cpu",
                    "--json",
                    *more,
                ]
            )
            shown = capsys.readouterr()
            figures.append(json.loads(shown.out))
            assert ("'ema_model.*' taken" if "ema" in more else "'model.*' taken") in shown.err
    assert figures[0]["iou"] == figures[2]["iou"] and figures[0]["fingerprint"] == figures[2]["fingerprint"]
    assert figures[0]["loss"] != figures[1]["loss"] and figures[0]["fingerprint"] != figures[1]["fingerprint"]


def workspace(folder: Path, *groups: str) -> Workspace:
    return Workspace(Options(checkpoints=(folder,), demo=False, home=folder / "home", groups=groups))


def test_the_workspace_shows_further_networks_of_a_file_on_request(tmp_path: Path) -> None:
    torch.save(AS_WRITTEN["hrda"], tmp_path / "run.pth")
    torch.save(NET, tmp_path / "plain.pth")
    with tiny_registered():
        shown = workspace(tmp_path)
        assert [item.name for item in shown.items] == ["plain", "run"]
        assert list(shown.offered_groups()) == ["run: ema_model", "run: imnet_model"]
        shown.show_groups(["run: ema_model"])
        assert [item.name for item in shown.items] == ["plain", "run", "run (ema_model)"]
        assert shift_of(shown.get("run (ema_model)").checkpoint) == 1
        assert (
            shown.preflight(["run", "run (ema_model)"]).compatible
            and not shown.preflight(["run", "run (ema_model)"]).same_file
        )
        shown.show_groups([])
        assert [item.name for item in shown.items] == ["plain", "run"]


def test_the_operator_chooses_for_the_folders(tmp_path: Path) -> None:
    torch.save(AS_WRITTEN["hrda"], tmp_path / "run.pth")
    torch.save(NET, tmp_path / "plain.pth")
    with tiny_registered():
        shown = workspace(tmp_path, "ema")
        assert shift_of(shown.get("run").checkpoint) == 1 and shift_of(shown.get("plain").checkpoint) == 0
        named = workspace(tmp_path, "plain.pth=ema")
        assert "no group" in next(str(item.problem) for item in named.items if item.name == "plain")
    assert app_options(["--group", "ema", "--group", "a=model"]).groups == ("ema", "a=model")


def test_files_of_the_workspace_agree_where_no_network_is_known(tmp_path: Path) -> None:
    torch.save(under("net.") | MEAN, tmp_path / "a.pth")
    torch.save(NET, tmp_path / "b.pth")
    shown = workspace(tmp_path)
    assert shown.preflight(["a", "b"]).compatible
    before = shown.items
    shown.refresh_checkpoints()
    assert shown.items is before


def test_the_choice_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(AS_WRITTEN["hrda"], tmp_path / "run.pth")
    with opened("workspace.py", tmp_path / "home", monkeypatch) as open_page:
        page = open_page("--checkpoints", str(tmp_path))
        page.multiselect(key="further-groups").set_value(["run: ema_model"]).run()
        assert not page.exception
        assert list(page.dataframe[0].value["name"]) == ["run", "run (ema_model)"]
