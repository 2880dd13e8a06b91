"""Weights as a stream: read in pieces from whatever shard, written into a folder that appears only when whole.

`weight_diff.py` reads and writes with it, `merge_lora.py` takes the folder. Pieces are read with plain file reads and
not through a memory map, so that memory does not depend on the size of a shard. Imports torch for `.bin` only.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from open_instruct.core.errors import UserError, disk_error, full_disk_told
from open_instruct.core.only_run import only_run
from open_instruct.core.records import sync_folder

# Names of element types in safetensors files -> in torch. Others are read and written alike, but not converted.
TORCH_NAMES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"},
}
_SAFETENSORS_NAMES = {torch_name: name for name, torch_name in TORCH_NAMES.items()}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies.

    Attributes:
        dtype: as safetensors names it ("BF16").
        start, size: bytes in the file `shard`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: str
    start: int
    size: int

    @property
    def width(self) -> int:
        """Bytes of one element; 0 where an element takes no whole number of them."""
        elements = prod(self.shape)
        return 1 if elements == 0 else self.size // elements if self.size % elements == 0 else 0


class Weights:
    """The tensors of a folder by name, whatever shard they lie in. Closes its files at the end of a `with` block.

    Args:
        folder: a checkpoint with `model.safetensors`, an index and its shards, or the same as `pytorch_model.bin`.
        files: instead of those that its index names.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path, files: list[str] | None = None) -> None:
        self.folder = folder
        self.tensors: dict[str, Tensor] = {}
        self.headers: dict[str, bytes] = {}  # of each safetensors shard, byte for byte
        self._open: dict[str, BinaryIO] = {}
        self._binary: tuple[str, dict[str, Any]] | None = None  # the last `.bin` used
        self.files = weight_files(folder) if files is None else files
        for file in self.files:
            found = self._binary_shard(file) if file.endswith(".bin") else self._safetensors_shard(file)
            self.tensors.update((tensor.name, tensor) for tensor in found)

    def __enter__(self) -> "Weights":
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._open.values():
            file.close()

    def read(self, tensor: Tensor, begin: int, out: np.ndarray) -> None:
        """Fill `out` (uint8) with the bytes of a tensor from byte `begin` on."""
        if tensor.shard.endswith(".bin"):
            values = self._load_binary(tensor.shard)[tensor.name].contiguous().reshape(-1)
            out[:] = values.view(_torch().uint8)[begin : begin + len(out)].numpy()
            return
        file = self._open.get(tensor.shard)
        if file is None:
            file = self._open[tensor.shard] = (self.folder / tensor.shard).open("rb", buffering=0)
        file.seek(tensor.start + begin)
        view, done = memoryview(out), 0
        while done < len(out):
            count = file.readinto(view[done:])
            if not count:
                raise _damaged(self.folder / tensor.shard, "it ends too early")
            done += count

    def _safetensors_shard(self, file: str) -> Iterator[Tensor]:
        path = self.folder / file
        try:
            with safe_open(path, "np"):  # checks the header against the file; maps it, and reads no data
                pass
            with path.open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                self.headers[file] = opened.read(length)
            return tensors_of(self.headers[file], file)
        except (OSError, SafetensorError) as error:
            raise _damaged(path, error) from error

    def _binary_shard(self, file: str) -> Iterator[Tensor]:
        for name, value in self._load_binary(file).items():
            dtype = _SAFETENSORS_NAMES.get(str(value.dtype).removeprefix("torch."))
            if dtype is None:
                raise UserError(f"{self.folder / file}: {name} is of type {value.dtype}, which cannot be stored.")
            yield Tensor(name, dtype, tuple(value.shape), file, 0, value.numel() * value.element_size())

    def _load_binary(self, file: str) -> dict[str, Any]:
        """The tensors of a `.bin`, mapped: only pages that are read come into memory."""
        if self._binary is None or self._binary[0] != file:
            self._binary = None  # let go of one map before taking the next
            try:
                loaded = _torch().load(self.folder / file, map_location="cpu", mmap=True, weights_only=True)
            except Exception as error:  # torch raises anything for a damaged file
                raise _damaged(self.folder / file, error) from error
            loaded = {name: value for name, value in loaded.items() if isinstance(value, _torch().Tensor)}
            self._binary = (file, loaded)
        return self._binary[1]


def weight_files(folder: Path) -> list[str]:
    """The names of a checkpoint's weight files, in order; safetensors where both kinds are there."""
    for single, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if (folder / index).is_file():
            try:
                return sorted(set(json.loads((folder / index).read_bytes())["weight_map"].values()))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise _damaged(folder / index, error) from error
        if (folder / single).is_file():
            return [single]
    raise UserError(f"{folder}: no weights here (model.safetensors). Did the run that writes them come to its end?")


def tensors_of(header: bytes, file: str) -> Iterator[Tensor]:
    """The tensors that a safetensors header lists, in the order in which they lie in the file."""
    first = 8 + len(header)  # offsets count from the end of the header, before which stands its length
    entries = [(name, entry) for name, entry in json.loads(header).items() if name != "__metadata__"]
    for name, entry in sorted(entries, key=lambda one: one[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        yield Tensor(name, entry["dtype"], tuple(entry["shape"]), file, first + begin, end - begin)


def header_of(tensors: list[Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors header for tensors that follow each other in this order."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for tensor in tensors:
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [offset, offset + tensor.size],
        }
        offset += tensor.size
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return header + b" " * (-len(header) % 8)  # tensors begin at a multiple of 8


@contextmanager
def whole_folder(target: Path, work: str, size: int) -> Iterator[Path]:
    """A temporary folder beside `target` to write into; it becomes `target` when the block ends well.

    However the block or the process ends otherwise, there is no `target`. What a killed process left behind
    (`.NAME.part`) is deleted by the next.

    Args:
        target: must not be there, or be empty.
        work: what is done there, for the message to a second process: "merge".
        size: bytes that will be written, refused beforehand where the disk has less.

    Raises:
        UserError: `target` is there, another process is writing it, or the disk is full.
    """
    target = Path(os.path.abspath(target))
    temporary = target.parent / f".{target.name}.part"
    with only_run(temporary, work):
        try:
            if target.exists() and (not target.is_dir() or any(target.iterdir())):
                raise UserError(f"{target}: is already there. Name another folder, or delete this one first.")
            _empty(temporary)
            free = shutil.disk_usage(temporary).free
            if free < size:
                raise UserError(
                    f"{target}: {size / 1e9:,.2f} GB will be written, and the disk has {free / 1e9:,.2f} GB free. "
                    "Make room, or name a folder on another disk."
                )
            with full_disk_told(target):
                yield temporary
                _to_disk(temporary)
            try:
                os.rename(temporary, target)
                sync_folder(str(target.parent))
            except OSError as error:
                raise disk_error(error, target) from error
            (target / ".lock").unlink()
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _to_disk(folder: Path) -> None:
    """Before the folder gets its name: a power cut must not leave the name with empty files behind."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    with suppress(OSError):
        sync_folder(str(folder))


def _damaged(path: Path, reason: object) -> UserError:
    text = next(iter(str(reason).strip().splitlines()), type(reason).__name__).rstrip(".")
    return UserError(f"{path}: cannot be read as weights: {text}. Copy the file again.")


def _torch() -> Any:
    import torch

    return torch
