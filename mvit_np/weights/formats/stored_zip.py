"""A zip that only stores, as .npz and torch's files are: its directory, vetted before any use.

The standard library's reader believes a directory and makes an object of a kilobyte for each of its
entries; here sizes and offsets are checked against the file first, and an entry is read straight
into the array that is handed out.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from ...backend.types import Array

MAX_DIRECTORY = 4 << 20  # bytes; about 50 000 entries

END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
IN_EXTRA = 0xFFFFFFFF  # a field of 32 bits that says: look for 64 bits in the extra field


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored entry: `size` bytes from `start` of the file on, behind a header at `header`."""

    name: str
    size: int
    crc: int
    header: int
    start: int = 0


def directory(file: BinaryIO) -> dict[str, Entry]:
    """{name: Entry} of a zip open for reading, in the order of its directory.

    Raises ValueError for compressed or encrypted entries, two of one name, entries that overlap,
    and sizes that the file does not have.
    """
    count, begin, length = _directory_span(file)
    file.seek(begin)
    data, at, entries = file.read(length), 0, {}
    for _ in range(count):
        entry, at = _central(data, at)
        if entry.name in entries:
            raise ValueError(f"its zip has two entries {entry.name[:80]!r}")
        entries[entry.name] = _located(file, entry, begin)
    if at != length:
        raise ValueError("its zip's directory is damaged")
    _check_no_overlap(entries.values(), begin)
    return entries


def contents(file: BinaryIO, entry: Entry) -> Array:
    """The bytes of an entry as a new uint8 array. Raises ValueError where the checksum differs."""
    file.seek(entry.start)
    data = np.fromfile(file, np.uint8, entry.size)
    # torch.serialization.set_crc32_options(False) writes zeros for checksums
    if data.size < entry.size or (entry.crc and zlib.crc32(data.data) != entry.crc):
        raise ValueError(
            f"its entry {entry.name[:80]!r} is damaged (the checksum differs): fetch the file again"
        )
    return data


def _directory_span(file):
    """Number of entries, the directory's first byte and length, from the records that end a zip."""
    size = file.seek(0, io.SEEK_END)
    tail = _at(file, max(0, size - END_64.size - LOCATOR_64.size - END.size), size)
    signature, *_, count, length, begin, comment = _unpack(END, tail, len(tail) - END.size)
    if signature != b"PK\5\6" or comment:
        came = "its zip has no end (the file is cut short, or there is something behind it)"
        raise ValueError(f"{came}: fetch it again")
    records = END.size
    if tail[-42:-38] == b"PK\6\7":
        signature, *_, count, length, begin = _unpack(END_64, tail, 0)
        records = len(tail)
    if begin + length + records != size or length > MAX_DIRECTORY or count * CENTRAL.size > length:
        raise ValueError(
            f"its zip's directory ({count} entries, {length} bytes at byte {begin}) does not fit "
            "the file"
        )
    return count, begin, length


def _central(data, at):
    """The entry that the directory describes from byte `at` on, and where the next one begins."""
    fields = _unpack(CENTRAL, data, at)
    signature, _, _, flags, method, _, _, crc, packed, size, n, extra, comment, *_, header = fields
    at += CENTRAL.size
    name = data[at : at + n].decode()
    if signature != b"PK\1\2" or len(data) < at + n + extra + comment:
        raise ValueError("its zip's directory is damaged")
    size, packed, header = _wide_fields(data[at + n : at + n + extra], size, packed, header)
    if method or flags & 1 or packed != size:
        raise ValueError(
            f"its entry {name[:80]!r} is compressed or encrypted: write it stored, as np.savez and "
            "torch.save do"
        )
    return Entry(name, size, crc, header), at + n + extra + comment


def _wide_fields(extra, *fields):
    """The fields, those beyond 32 bits from the extra field (record 1, in the same order)."""
    wide, at = [], 0
    while at + 4 <= len(extra):
        record, length = struct.unpack_from("<HH", extra, at)
        if record == 1:
            count = min(length, len(extra) - at - 4) // 8
            wide = list(struct.unpack_from(f"<{count}Q", extra, at + 4))
        at += 4 + length
    if sum(field == IN_EXTRA for field in fields) > len(wide):
        raise ValueError("its zip's directory is damaged")
    return [wide.pop(0) if field == IN_EXTRA else field for field in fields]


def _located(file, entry, end):
    """The entry with its first byte, which only the header in front of it tells."""
    if entry.header > end:
        raise ValueError(
            f"its entry {entry.name[:80]!r} begins at byte {entry.header}, behind the file's end"
        )
    header = _at(file, entry.header, entry.header + LOCAL.size)
    signature, *_, n, extra = _unpack(LOCAL, header, 0)
    start = entry.header + LOCAL.size + n + extra
    if signature != b"PK\3\4" or file.read(n) != entry.name.encode():
        raise ValueError(f"its entry {entry.name[:80]!r} is not where the directory says")
    return replace(entry, start=start)


def _check_no_overlap(entries, end):
    """Entries that overlap could hand out one byte of the file many times."""
    free = 0
    for entry in sorted(entries, key=lambda entry: entry.header):
        if entry.header < free:
            raise ValueError(f"its entry {entry.name[:80]!r} overlaps another")
        free = entry.start + entry.size
        if free > end:
            raise ValueError(
                f"its entry {entry.name[:80]!r} has {entry.size} bytes, more than the file"
            )


def _at(file, begin, end):
    file.seek(begin)
    return file.read(end - begin)


def _unpack(layout, data, at):
    if at < 0 or len(data) < at + layout.size:
        raise ValueError("its zip is cut short: fetch the file again")
    return layout.unpack_from(data, at)
