"""Frames made ahead: label maps of a view with their figures, kept among the maps of the home folder."""

from __future__ import annotations

import json
import zlib
from typing import Any

from fusionlib.data.cache import DecodedCache
from fusionlib.runs.answers import short, software
from fusionlib.runs.keys import key_of
from fusionlib.runs.maps import Maps, Owner

FRAME = {"frame": 1}
"""What frames are called among the maps, and the version of what they are: others are kept apart."""

LARGEST = 64 << 20
"""Bytes of an unpacked frame: what is larger is none, whoever put it there."""

Key = tuple
"""What a process calls a frame; its last three parts are the number of the picture, the pane and the mixture."""

_PNG = b"\x89PNG\r\n\x1a\n"


class PreparedFrames:
    """Frames of one view, whose `id` says checkpoints, policy, rounding, network, pictures, precision and device.

    A frame is called by its picture's content, its pane and its mixture, and says so itself: one of another alpha is
    never taken for this one. What is there is known without a look at the disk; `look` brings that up to date.
    """

    def __init__(self, maps: Maps, view: str, pictures: DecodedCache) -> None:
        self._maps, self._pictures = maps, pictures
        self._owner = Owner(short(key_of("frames", view, software())), *next(iter(FRAME.items())))
        self._there: frozenset[bytes] = frozenset()
        self.look()

    def look(self) -> None:
        """See what is there: others may have prepared, or made room."""
        self._there = self._maps.pictures(self._owner)

    def has(self, key: Key) -> bool:
        """Whether a frame was there when somebody looked last."""
        return short(self._name(key)) in self._there

    def find(self, key: Key) -> tuple[bytes, dict[str, Any]] | None:
        """PNG and figures; None where it is not there, or damaged, which is then forgotten."""
        name = self._name(key)
        place = short(name)
        packed = self._maps.find(self._owner, [place]).get(place)
        found = None if packed is None else _unpacked(packed, name)
        if found is None:
            self._there -= {place}
            if packed is not None:
                self._maps.drop(self._owner, [place])
        return found

    def keep(self, key: Key, png: bytes, about: dict[str, Any]) -> None:
        """Store a frame; those of the home folder that were used longest ago make room."""
        name = self._name(key)
        head = json.dumps({"key": name, "about": about}).encode()
        self._maps.keep([(self._owner, short(name), zlib.compress(head + b"\n" + png, 6))])
        self._there |= {short(name)}

    def _name(self, key: Key) -> str:
        _, _, index, *rest = key
        return key_of("frame", self._pictures.picture_key(index), *rest)


def _unpacked(packed: bytes, name: str) -> tuple[bytes, dict[str, Any]] | None:
    try:
        unpacking = zlib.decompressobj()
        head, _, png = unpacking.decompress(packed, LARGEST).partition(b"\n")
        found = json.loads(head)
        whole = unpacking.eof and png.startswith(_PNG) and found["key"] == name and isinstance(found["about"], dict)
    except (zlib.error, ValueError, TypeError, KeyError, RecursionError):
        return None
    return (png, found["about"]) if whole else None
