"""Zip archives of tensors, read without unpacking: where the content of each member lies in the file."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass

from fusionlib.checkpoints.snapshot import Section, Snapshot
from fusionlib.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"

_LOCAL_HEADER = 30
"""Bytes of a zip member's own header before its name."""


@dataclass(frozen=True)
class Member:
    """First byte and size of a member's content; `plain` says that it is not compressed."""

    begin: int
    size: int
    plain: bool


def members_of(snapshot: Snapshot | Section) -> dict[str, Member]:
    """Every member by its name.

    Raises: `CheckpointError` where the archive is truncated or damaged, members have one name, or plain ones overlap.
    """
    file = snapshot.path.name
    try:
        with zipfile.ZipFile(snapshot.stream()) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        raise damaged(file, f"the archive in it is truncated or damaged ({problem})") from problem
    found = {
        one.filename: Member(_begin(snapshot, one), one.file_size, one.compress_type == zipfile.ZIP_STORED)
        for one in listed
    }
    plain = [one for one in found.values() if one.plain]
    if sum(one.file_size for one in listed if one.compress_type == zipfile.ZIP_STORED) > snapshot.size:
        raise damaged(file, "its archive overlaps itself")
    if len(found) < len(listed) or any(one.begin + one.size > snapshot.size for one in plain):
        raise damaged(file, "records of its archive are double or lie outside of it")
    return found


def content_of(snapshot: Snapshot | Section, member: Member, most: int) -> bytes:
    """All bytes of a plain member of at most so many. Raises `CheckpointError`."""
    if not member.plain or member.size > most:
        raise damaged(snapshot.path.name, f"a list of tensors in it is compressed or longer than {most} bytes")
    return snapshot.read(member.size, member.begin)


def short(member: str) -> str:
    """The name of a member without the folders that it is in."""
    return member.rpartition("/")[2]


def damaged(file: str, reason: str) -> CheckpointError:
    """The error for a file that breaks its format."""
    return CheckpointError(
        f"{file} cannot be read as a checkpoint: {reason}",
        "a complete file of tensors",
        "Copy or download it again, or save it again with a current PyTorch",
    )


def _begin(snapshot: Snapshot | Section, member: zipfile.ZipInfo) -> int:
    """The first byte of a member's content: behind its own header, whose length depends on two fields of it."""
    if member.header_offset + _LOCAL_HEADER > snapshot.size:
        raise damaged(snapshot.path.name, "the archive in it is truncated")
    name, extra = struct.unpack("<HH", snapshot.read(4, member.header_offset + _LOCAL_HEADER - 4))
    return member.header_offset + _LOCAL_HEADER + name + extra
