"""Networks that `transformers` has and this library does not, run by it where the extra `[hf]` is installed.

They are made from the config of a folder, as data: no name in it is looked up anywhere, no weights are fetched, and no
code of a folder is run. Their tensors have the names of transformers' modules, which a table that transformers itself
gives tells from those of its files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures.built_in import IMAGENET_MEAN, IMAGENET_STD
from fusionlib.architectures.described import ANY, family, shown_network
from fusionlib.architectures.recognise import recognise
from fusionlib.architectures.spaces import usual_space
from fusionlib.contracts import SPELLINGS, Architecture, Description, Part, Parts, Preprocessing, TensorShapes
from fusionlib.errors import ArchitectureError
from fusionlib.quiet import quiet

INSTALL = "Install it: pip install 'fusionlib[hf]'"
OWN_CODE = "Give the network's code with --model FILE.py:FACTORY"

_OF_QUERIES = {"mask2former", "maskformer", "eomt", "eomt_dinov3"}
"""Networks that answer with masks and classes of queries, of one picture and nothing else."""

_DROPPED = ("auto_map", "quantization_config", "dtype", "torch_dtype", "name_or_path", "attn_implementation")
_SAYS_NOTHING = ("id2label", "label2id", "transformers_version")
_LOOPS = ("layer", "depth", "block", "stage")
_LARGEST, _LONGEST, _DEEPEST = 1 << 20, 4096, 8
_PAD = 32


@family(ANY)
def of_transformers(description: Description) -> Architecture | None:
    """As `network_of_transformers`."""
    return network_of_transformers(description)


def network_of_transformers(description: Description) -> TransformersNetwork | None:
    """The network of a config. Raises `ArchitectureError` where transformers is not there, or cannot make it."""
    if not description.network:
        return None
    if description.key not in _MADE:
        try:
            _MADE[description.key] = TransformersNetwork(description)
        except ArchitectureError as problem:
            _MADE[description.key] = problem
    made = _MADE[description.key]
    if isinstance(made, ArchitectureError):
        raise made.with_traceback(None)
    return made


_MADE: dict[str, TransformersNetwork | ArchitectureError] = {}


class TransformersNetwork:
    """One network of transformers. `stored` are the names of its files by those of its modules.

    Networks that know one size of picture get pictures of that size; others get sides of multiples of 32.
    """

    citation = "its class in transformers, which names the paper"
    head: tuple[str, ...] = ()
    version = 1
    last = True

    def __init__(self, description: Description) -> None:
        library, name = _class_of(description)
        self.title = f"{name} of transformers"
        self.code = f"transformers {library.__version__} {name} {_digest(description.config)}"
        self._queries = description.model_type in _OF_QUERIES
        self._class = getattr(library, name)
        self._config = _config(library, description, name)
        self.classes = int(self._config.num_labels)
        side = description.config.get("image_size")
        resize = (side, side) if type(side) is int and 0 < side <= _LONGEST else None
        self.preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, pad=1 if resize else _PAD, resize=resize)
        with torch.device("meta"):
            model = self._model(name)
        tensors = model.state_dict()
        self._shapes = {own: tuple(tensor.shape) for own, tensor in tensors.items()}
        self.stored = _stored_names(model, tensors)

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """The class count of the config, where every tensor is there."""
        counters = (name for name in self._shapes if name.endswith("num_batches_tracked"))
        there = {**dict.fromkeys(counters, ()), **shapes}
        return self.classes if all(there.get(name) == shape for name, shape in self._shapes.items()) else None

    def build(self, classes: int) -> nn.Module:
        """A fresh network."""
        return _Logits(self._model(self.title), self._queries)

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of its tensors, whose class count is that of the config."""
        return dict(self._shapes)

    def label_space(self, classes: int) -> str:
        """By the class count."""
        return usual_space(classes)

    def _model(self, name: str) -> nn.Module:
        try:
            with quiet():
                return self._class(self._config).eval()
        except Exception as problem:
            raise _refused(name, f"{type(problem).__name__}: {_first_line(problem)}") from problem


class _Logits(nn.Module):
    """The model under its own names of tensors, with logits (N, C, h, w) as its output.

    With `queries` they are `log(s / sum_c s)` of `s_c = sum_q softmax(class_q)_c sigmoid(mask_q)`, the class "none"
    left out: the scores by which transformers chooses classes of pixels.
    """

    def __init__(self, model: nn.Module, queries: bool) -> None:
        super().__init__()
        self._held, self.queries = (model,), queries  # in a tuple, so that its name is before no tensor's
        self._modules = model._modules
        self._parameters, self._buffers = model._parameters, model._buffers
        self._non_persistent_buffers_set = model._non_persistent_buffers_set

    def forward(self, x: Tensor) -> Tensor:
        found = self._held[0](pixel_values=x)
        if not self.queries:
            return found.logits
        classes = found.class_queries_logits.softmax(-1)[..., :-1]
        scores = torch.einsum("nqc,nqhw->nchw", classes, found.masks_queries_logits.sigmoid())
        scores = scores.clamp_min(torch.finfo(scores.dtype).tiny)
        return (scores / scores.sum(1, keepdim=True)).log()


class FilesOfTransformers:
    """The names of its files, where its modules have others."""

    title = "the files of transformers"
    last = True  # what is built in here needs no transformers

    def parts(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Parts] | None:
        """As `fusionlib.contracts.Spelling.parts`."""
        description = shapes.description if isinstance(shapes, TensorShapes) else None
        if description is None or recognise(shapes) is not None:
            return None
        network = None
        with suppress(ArchitectureError):
            network = network_of_transformers(description)
        if network is None:
            return None
        ours = {stored: own for own, stored in network.stored.items()}
        renamed = {name: ours.get(name, name) for name in shapes}
        found = {own: shapes[name] for name, own in renamed.items()}
        if len(found) < len(shapes) or network.recognise(found) is None:
            return None
        return {name: (Part(own, shapes[name]),) for name, own in renamed.items()}


SPELLINGS.register("transformers")(FilesOfTransformers())


def _class_of(description: Description) -> tuple[Any, str]:
    """The library, and the name of the class in it that `model_type` means: no name of a folder is looked up in it."""
    said = shown_network(description)
    if importlib.util.find_spec("transformers") is None:
        if "Segmentation" not in description.network:
            raise _refused(said, "it does not say that it segments pictures", OWN_CODE)
        raise _refused(said, "it is not built in, and transformers, which may have it, is not installed", INSTALL)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when it is loaded; nothing here has a name to fetch by
    try:
        with quiet():
            import transformers  # type: ignore[import-not-found]
            from transformers.core_model_loading import revert_weight_conversion  # type: ignore  # noqa: F401
            from transformers.models.auto import modeling_auto as auto  # type: ignore[import-not-found]
    except ImportError as problem:
        raise _refused(
            said, f"the transformers that is installed is too old or broken ({problem})", INSTALL
        ) from problem
    semantic = auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
    several = auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES
    kind = description.model_type
    name = semantic.get(kind) or (several.get(kind) if kind in _OF_QUERIES else None)
    if name is None:
        needs_more = kind in several
        why = "it needs more than pictures" if needs_more else "transformers has no such network that segments pictures"
        raise _refused(said, why, OWN_CODE)
    if description.network != name:
        raise _refused(said, f"of this kind only {name} segments pictures", f"Open a folder of {name}")
    return transformers, name


def _config(library: Any, description: Description, name: str) -> Any:
    try:
        with quiet():
            return library.CONFIG_MAPPING[description.model_type].from_dict(_cleaned(description.config))
    except ArchitectureError:
        raise
    except Exception as problem:
        raise _refused(name, f"its config is not one: {_first_line(problem)}") from problem


def _cleaned(config: Any, key: str = "", depth: int = 0) -> Any:
    """Its values without those that are orders to fetch or run something. Raises `ArchitectureError` for sizes that are
    none of a network.
    """
    if depth > _DEEPEST or (isinstance(config, list | dict) and len(config) > _LONGEST):
        raise _refused("the network", "its config is too large")
    if isinstance(config, list):
        return [_cleaned(value, key, depth + 1) for value in config]
    if not isinstance(config, dict):
        most = _LONGEST // 8 if any(word in key for word in _LOOPS) else _LARGEST
        if type(config) is int and abs(config) > most:
            raise _refused("the network", f"its config has {key[:40]} {config:.3g}")
        return config
    if config.get("use_timm_backbone") is True or (
        isinstance(config.get("backbone"), str) and not config.get("backbone_config")
    ):
        raise _refused("the network", "its backbone is a name to be fetched, or one of timm", OWN_CODE)
    kept = {
        name: value
        for name, value in config.items()
        if not name.startswith("_") and name not in (*_DROPPED, "backbone")
    }
    cleaned = {name: _cleaned(value, str(name), depth + 1) for name, value in kept.items()}
    return {**cleaned, **({"use_pretrained_backbone": False} if "use_pretrained_backbone" in cleaned else {})}


def _digest(config: Mapping[str, Any]) -> str:
    """Of what makes the network: not of the names of classes, nor of who wrote the folder."""
    said = {name: value for name, value in _cleaned(dict(config)).items() if name not in _SAYS_NOTHING}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _stored_names(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The name in files of each tensor that files keep as it is."""
    from transformers.core_model_loading import revert_weight_conversion  # type: ignore[import-not-found]

    own = {id(tensor): name for name, tensor in tensors.items()}
    with quiet():
        stored = revert_weight_conversion(model, dict(tensors))  # type: ignore[arg-type]
    return {own[id(tensor)]: name for name, tensor in stored.items() if id(tensor) in own}


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]


def _refused(network: str, why: str, do: str = OWN_CODE) -> ArchitectureError:
    return ArchitectureError(f"its folder says {network}: {why}", "a network that runs here", do)
