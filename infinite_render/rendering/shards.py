"""Owns the shard file: how one is written, and how a damaged one is told without decoding it.

A shard is one file that holds the inner chunks of one block and, at its end, their index
(zarr v3, `sharding_indexed`):

    chunk, chunk, ..., index: (offset, length) of each chunk as two uint64, CRC32C of the index

Every chunk ends in a CRC32C of its own, over its compressed bytes. So the index alone, a few
hundred bytes, tells a file cut short, and one pass over the bytes, with nothing decompressed, tells
any other damage.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import google_crc32c
import numpy as np
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from infinite_render.rendering.targets import write_durably

CHECKSUM_BYTES = 4
ENTRY_BYTES = 16  # offset and length, uint64 each
ABSENT = 2**64 - 1  # the offset of a chunk that a shard does not hold


class DurableStore(LocalStore):
    """A zarr store in a directory whose files appear whole or not at all, after a power cut too.

    zarr's own LocalStore renames a file that it has not synced: enough against a kill, but a power
    cut may leave the name on an empty file.
    """

    async def set(self, key: str, value: Buffer) -> None:
        """Write one file: its bytes are on the disk before its name is."""
        await asyncio.to_thread(self.set_sync, key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """The same, at once."""
        self._check_writable()
        write_durably(self.root / key, value.to_bytes())


def _checksum_holds(data: bytes) -> bool:
    """Whether the last four bytes are the CRC32C of those before."""
    stored = int.from_bytes(data[-CHECKSUM_BYTES:], "little")
    return len(data) >= CHECKSUM_BYTES and google_crc32c.value(data[:-CHECKSUM_BYTES]) == stored


def _spans(tail: bytes, file_bytes: int, seen: int) -> list[tuple[int, int]] | None:
    """The (offset, length) of every chunk, from a shard's index; None where it cannot be right.

    Right is: the checksum holds, at least `seen` chunks are there, and they lie one after the other
    with no gap from the file's start to the index. So a file of another length is never right.
    """
    if not _checksum_holds(tail):
        return None
    entries = np.frombuffer(tail[:-CHECKSUM_BYTES], dtype="<u8").reshape(-1, 2)
    spans = sorted((int(at), int(length)) for at, length in entries if int(at) != ABSENT)
    position = 0
    for offset, length in spans:
        if offset != position:
            return None
        position += length
    return spans if position == file_bytes - len(tail) and len(spans) >= seen else None


def is_whole(path: Path, slots: int, seen: int) -> bool:
    """Whether a shard is there and its index fits it. Reads the index only.

    slots : chunks that the index has room for
    seen  : chunks that hold some of the picture; at its edge a shard may leave out the rest
    """
    tail_bytes = slots * ENTRY_BYTES + CHECKSUM_BYTES
    try:
        with path.open("rb") as file:
            file_bytes = file.seek(0, 2)
            if file_bytes < tail_bytes:
                return False
            file.seek(file_bytes - tail_bytes)
            return _spans(file.read(), file_bytes, seen) is not None
    except FileNotFoundError:
        return False


def is_intact(path: Path, slots: int, seen: int) -> bool:
    """Whether every byte of a shard is as it was written, by its checksums. Reads all of it."""
    tail_bytes = slots * ENTRY_BYTES + CHECKSUM_BYTES
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    if len(data) < tail_bytes:
        return False
    spans = _spans(data[-tail_bytes:], len(data), seen)
    return spans is not None and all(
        _checksum_holds(data[offset : offset + length]) for offset, length in spans
    )
