"""Share a fine-tuned model without its base: write what changed, and put it back onto the base.

    python scripts/weight_diff.py make_diff --path_raw BASE --path_tuned TUNED --path_diff DIFF
    python scripts/weight_diff.py recover --path_raw BASE --path_tuned TUNED --path_diff DIFF

`recover` gives back the tuned folder's weight files byte for byte, or nothing. The difference is one of bit patterns:
each element is taken for an unsigned integer of its width, and tuned - raw is kept modulo 2^bits. Differences of the
numbers themselves do not come back: in bfloat16, raw + (tuned - raw) rounds twice, float32 cannot hold the difference
of two bfloat16 numbers 2^30 apart, and infinities and NaNs are lost in any type. Integers modulo 2^bits lose nothing
and take no more room than the model.

Base and tuned model are read in pieces of a few MiB, from whatever shards a tensor lies in. The diff carries a SHA-256
of every tensor, of the base's side and of the tuned one, which `recover` checks while it streams.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from open_instruct.core import checkpoint
from open_instruct.core.command import for_terminal, guarded
from open_instruct.core.errors import UserError
from open_instruct.core.records import replacing, write_json
from open_instruct.core.run_info import FILE_NAME, RunInfo
from open_instruct.core.shards import TORCH_NAMES, Tensor, Weights, header_of, tensors_of, whole_folder

ABOUT = "weight_diff.json"
_FORMAT = 1
_INDEX = "model.safetensors.index.json"
_PIECE = 4 << 20  # bytes that are read, subtracted and written at a time; whole elements of any width
_UNSIGNED = {1: "U8", 2: "U16", 4: "U32", 8: "U64"}
# What makes the weights a model, by the end of its name: configuration, tokenizer, chat template, code, card.
_TRAVELS = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".bpe", ".py", ".md")
_STAYS = (FILE_NAME, "trainer_state.json", ABOUT)


@dataclass(frozen=True)
class _Pair:
    """A tuned tensor and what it is the difference to: the first `shared` elements of a tensor of the base."""

    tuned: Tensor
    raw: Tensor
    shared: int


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=for_terminal(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="make_diff | recover")
    for command in (make_diff, recover):
        one = commands.add_parser(command.__name__, help=command.__doc__.splitlines()[0])
        one.add_argument("--path_raw", required=True, type=Path, help="folder of the base model")
        one.add_argument("--path_tuned", required=True, type=Path, help="folder of the tuned model")
        one.add_argument("--path_diff", required=True, type=Path, help="folder of the difference")
        one.set_defaults(run=command)
    given = parser.parse_args(arguments)
    guarded(given.run, given.path_raw, given.path_tuned, given.path_diff)


def make_diff(path_raw: Path, path_tuned: Path, path_diff: Path) -> None:
    """Write tuned - raw, with everything else that the tuned model consists of.

    Raises:
        UserError: a folder is no whole checkpoint, the tuned model was not made from this base, `path_diff` is there
            already, or the disk is too small.
    """
    for folder in (path_raw, path_tuned):
        checkpoint.check(folder, chat_template=False)
    with Weights(path_raw) as raw, Weights(path_tuned) as tuned:
        pairs = {pair.tuned.name: pair for pair in _pairs(raw, tuned)}
        layout = _layout(tuned)
        size = sum(tensor.size for tensor in tuned.tensors.values())
        settings = {"command": "make_diff", "path_raw": path_raw, "path_tuned": path_tuned, "path_diff": path_diff}
        with whole_folder(path_diff, "weight diff", size) as folder, RunInfo(folder, settings) as info:
            about: dict[str, Any] = {"format": _FORMAT, "shards": {}, "tensors": {}, "files": {}}
            for number, (shard, header) in enumerate(layout.items(), 1):
                name = f"diff-{number:05}-of-{len(layout):05}.safetensors"
                about["shards"][shard] = {"diff": name, "header": header.decode()}
                in_file = [pairs[tensor.name] for tensor in tensors_of(header, shard)]
                stored = [_as_integers(pair.tuned) for pair in in_file]
                with replacing(folder / name) as write:
                    _write_header(write, header_of(stored, {"format": "weight_diff"}))
                    for pair in in_file:
                        digests = _subtract(pair, raw, tuned, write)
                        about["tensors"][pair.tuned.name] = {
                            "raw": pair.raw.name,
                            "raw_shape": pair.raw.shape,
                            "raw_elements": pair.shared,
                            **digests,
                        }
                print(f"{shard}: shard {number} of {len(layout)}", flush=True)
            index = path_tuned / _INDEX
            about["index"] = index.read_text() if index.is_file() else _index(layout)
            for path in _travelling(path_tuned):
                content = path.read_bytes()
                about["files"][path.name] = hashlib.sha256(content).hexdigest()
                _write_file(folder / path.name, content)
            write_json(folder / ABOUT, {**about, "sha256": _digest_of(about)})
            info.add(tensors=len(pairs), bytes=size)
        _tell(list(pairs.values()), raw, size)


def recover(path_raw: Path, path_tuned: Path, path_diff: Path) -> None:
    """Write raw + diff, checked against the digests of both sides.

    Raises:
        UserError: the base is not the one that the diff was made on, the diff is damaged, `path_tuned` is there
            already, or the disk is too small.
    """
    checkpoint.check(path_raw, chat_template=False)
    about = _read_about(path_diff)
    for name, digest in about["files"].items():
        if not (path_diff / name).is_file() or checkpoint.file_digest(path_diff / name) != digest:
            raise _damaged(path_diff / name)
    diff_files = [shard["diff"] for shard in about["shards"].values()]
    for name in diff_files:
        if not (path_diff / name).is_file():
            raise UserError(f"{path_diff}: {name} is missing. Copy the diff again.")
    with Weights(path_raw) as raw, Weights(path_diff, diff_files) as diff:
        layout = {shard: entry["header"].encode() for shard, entry in about["shards"].items()}
        pairs = {pair.tuned.name: pair for pair in _recorded_pairs(about, layout, raw, diff)}
        size = sum(pair.tuned.size for pair in pairs.values())
        settings = {"command": "recover", "path_raw": path_raw, "path_tuned": path_tuned, "path_diff": path_diff}
        with whole_folder(path_tuned, "recovery", size) as folder, RunInfo(folder, settings) as info:
            for number, (shard, header) in enumerate(layout.items(), 1):
                with replacing(folder / shard) as write:
                    _write_header(write, header)
                    for tensor in tensors_of(header, shard):
                        found = _add(pairs[tensor.name], raw, diff, write)
                        _compare(found, about["tensors"][tensor.name], pairs[tensor.name], raw, diff)
                print(f"{shard}: shard {number} of {len(layout)}, checked", flush=True)
            if about["index"] is not None:
                _write_file(folder / _INDEX, about["index"].encode())
            for name in about["files"]:
                _write_file(folder / name, (path_diff / name).read_bytes())
            info.add(tensors=len(pairs), bytes=size)
    print(f"{path_tuned}: recovered {len(pairs):,} tensors ({size / 1e9:,.2f} GB), each equal to the tuned model's")


def _pairs(raw: Weights, tuned: Weights) -> Iterator[_Pair]:
    """Each tuned tensor with the tensor of the base that it was made from."""
    raw_rows, tuned_rows = _vocabulary(raw.folder), _vocabulary(tuned.folder)
    embeddings = [one for one in raw.tensors.values() if len(one.shape) == 2 and one.shape[0] == raw_rows]
    for tensor in tuned.tensors.values():
        without_prefix = tensor.name.partition(".")[2]  # GPT-2 and OPT are published without the `model.` of theirs
        base = raw.tensors.get(tensor.name) or raw.tensors.get(without_prefix)
        if base is None and len(embeddings) == 1 and tensor.shape == (tuned_rows, embeddings[0].shape[1]):
            base = embeddings[0]  # tied there: the output layer, which has its own weights here, was this one
        if base is None:
            raise UserError(
                f"{raw.folder}: has no tensor {tensor.name}, which {tuned.folder} has: it is not the model that was "
                "tuned. Name the right base with --path_raw."
            )
        grown = tensor.shape[:1] == (tuned_rows,) and base.shape[:1] == (raw_rows,)
        if tensor.shape != base.shape and not (grown and tensor.shape[1:] == base.shape[1:]):
            raise UserError(
                f"{raw.folder}: {base.name} has the shape {list(base.shape)}, in {tuned.folder} {list(tensor.shape)}: "
                "it is not the model that was tuned. Name the right base with --path_raw."
            )
        _check_types(tensor, base, tuned.folder)
        width = max(1, tensor.width)
        yield _Pair(tensor, base, min(tensor.size // width, base.size // max(1, base.width)))


def _recorded_pairs(about: dict[str, Any], layout: dict[str, bytes], raw: Weights, diff: Weights) -> Iterator[_Pair]:
    """The pairs that the diff was made of, as far as names and shapes can tell that both folders are the right ones."""
    for shard, header in layout.items():
        for tensor in tensors_of(header, shard):
            entry = about["tensors"][tensor.name]
            base, stored = raw.tensors.get(entry["raw"]), diff.tensors.get(tensor.name)
            if base is None or list(base.shape) != entry["raw_shape"]:
                has = "has no tensor" if base is None else f"has the shape {list(base.shape)} in"
                raise _wrong_base(raw, diff, f"it {has} {entry['raw']}, which had {entry['raw_shape']}")
            if stored is None or stored.size != tensor.size or stored.shape != tensor.shape:
                raise _damaged(diff.folder / about["shards"][shard]["diff"])
            _check_types(tensor, base, diff.folder)
            yield _Pair(tensor, base, entry["raw_elements"])


def _check_types(tuned: Tensor, raw: Tensor, folder: Path) -> None:
    """Refuse what `_raw_bits` cannot bring to one type."""
    floats = ("F64", "F32", "F16", "BF16")
    if tuned.width not in _UNSIGNED or (tuned.dtype != raw.dtype and not {tuned.dtype, raw.dtype} <= {*floats}):
        raise UserError(
            f"{folder}: {tuned.name} is of type {tuned.dtype} and {raw.dtype} in the base, which no difference can be "
            "taken of. Convert one of the two models to the other's type."
        )


def _subtract(pair: _Pair, raw: Weights, tuned: Weights, write: Any) -> dict[str, str]:
    """Write tuned - raw of one tensor, modulo 2^bits; rows that the base has not are kept as they are."""
    digests = {"raw_sha256": hashlib.sha256(), "tuned_sha256": hashlib.sha256()}
    for begin, values in _pieces(pair, tuned, pair.tuned):
        digests["tuned_sha256"].update(values)
        base = _raw_bits(pair, raw, begin, len(values))
        digests["raw_sha256"].update(base)
        values[: len(base)] -= base
        write(values)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _add(pair: _Pair, raw: Weights, diff: Weights, write: Any) -> dict[str, str]:
    """Write raw + diff of one tensor, modulo 2^bits."""
    digests = {"raw_sha256": hashlib.sha256(), "tuned_sha256": hashlib.sha256()}
    for begin, values in _pieces(pair, diff, diff.tensors[pair.tuned.name]):
        base = _raw_bits(pair, raw, begin, len(values))
        digests["raw_sha256"].update(base)
        values[: len(base)] += base
        digests["tuned_sha256"].update(values)
        write(values)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _pieces(pair: _Pair, weights: Weights, tensor: Tensor) -> Iterator[tuple[int, np.ndarray]]:
    """(first element, unsigned integers) of a tensor, piece by piece, in one buffer that is used again."""
    width = pair.tuned.width
    buffer = np.empty(min(_PIECE, tensor.size), np.uint8)
    for begin in range(0, tensor.size, _PIECE):
        piece = buffer[: min(_PIECE, tensor.size - begin)]
        weights.read(tensor, begin, piece)
        yield begin // width, piece.view(f"<u{width}")


def _raw_bits(pair: _Pair, raw: Weights, begin: int, count: int) -> np.ndarray:
    """The base's elements from `begin` on, as bit patterns of the tuned model's type; fewer or none beyond its end."""
    count = max(0, min(count, pair.shared - begin))
    width = pair.raw.width
    piece = np.empty(count * width, np.uint8)
    if count:
        raw.read(pair.raw, begin * width, piece)
    if count and pair.raw.dtype != pair.tuned.dtype:
        import torch

        # Rounds where the tuned type is narrower, the same way each time; what was rounded to is what is digested.
        values = torch.from_numpy(piece).view(getattr(torch, TORCH_NAMES[pair.raw.dtype]))
        piece = values.to(getattr(torch, TORCH_NAMES[pair.tuned.dtype])).view(torch.uint8).numpy()
    return piece.view(f"<u{pair.tuned.width}")


def _compare(found: dict[str, str], entry: dict[str, Any], pair: _Pair, raw: Weights, diff: Weights) -> None:
    if found["raw_sha256"] != entry["raw_sha256"]:
        raise _wrong_base(raw, diff, f"its {pair.raw.name} has other numbers")
    if found["tuned_sha256"] != entry["tuned_sha256"]:
        raise _damaged(diff.folder / diff.tensors[pair.tuned.name].shard)


def _wrong_base(raw: Weights, diff: Weights, difference: str) -> UserError:
    return UserError(
        f"{raw.folder}: is not the base that {diff.folder} was made on: {difference}. "
        "Name the right base with --path_raw."
    )


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: is damaged: it is not what make_diff wrote. Copy the diff again.")


def _layout(weights: Weights) -> dict[str, bytes]:
    """The safetensors files that hold a model's tensors: name -> header. `.bin` shards become safetensors shards."""
    layout = {}
    for file in weights.files:
        if file.endswith(".bin"):
            name = file.removesuffix(".bin").replace("pytorch_model", "model") + ".safetensors"
            tensors = [tensor for tensor in weights.tensors.values() if tensor.shard == file]
            layout[name] = header_of(tensors, {"format": "pt"})
        else:
            layout[file] = weights.headers[file]
    return layout


def _index(layout: dict[str, bytes]) -> str | None:
    """The index of shards, for a model that came without; None where its one file needs none."""
    if len(layout) == 1:
        return None
    tensors = [tensor for shard, header in layout.items() for tensor in tensors_of(header, shard)]
    weight_map = {tensor.name: tensor.shard for tensor in sorted(tensors, key=lambda one: one.name)}
    total = sum(tensor.size for tensor in tensors)
    return json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2)


def _as_integers(tensor: Tensor) -> Tensor:
    return Tensor(tensor.name, _UNSIGNED[tensor.width], tensor.shape, tensor.shard, tensor.start, tensor.size)


def _write_header(write: Any, header: bytes) -> None:
    write(len(header).to_bytes(8, "little"))
    write(header)


def _write_file(path: Path, content: bytes) -> None:
    with replacing(path) as write:
        write(content)


def _travelling(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and path.name.endswith(_TRAVELS)
        and path.name not in _STAYS
        and not path.name.endswith(".index.json")
    )


def _vocabulary(folder: Path) -> int | None:
    """Rows of the embeddings, as the configuration says."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return config.get("vocab_size", config.get("text_config", {}).get("vocab_size"))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / 'config.json'}: is no configuration of a model ({error}).") from error


def _read_about(folder: Path) -> dict[str, Any]:
    """What `make_diff` wrote about the diff.

    Raises:
        UserError: there is none, it is damaged, or of a newer format.
    """
    path = folder / ABOUT
    if not path.is_file():
        raise UserError(f"{folder}: holds no {ABOUT}, so it is no diff that make_diff of this project wrote.")
    try:
        about = json.loads(path.read_bytes())
        digest = about.pop("sha256", None)
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(path) from error
    if digest != _digest_of(about):
        raise _damaged(path)
    if about["format"] != _FORMAT:
        raise UserError(f"{path}: is of format {about['format']}; this release reads {_FORMAT}. Use a newer release.")
    names = [*about["files"], *about["shards"], *(shard["diff"] for shard in about["shards"].values())]
    if any(Path(name).name != name for name in names):  # a diff comes from strangers, and names where files go
        raise UserError(f"{path}: names files outside of its folder. Do not use this diff.")
    return about


def _digest_of(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _tell(pairs: list[_Pair], raw: Weights, size: int) -> None:
    print(f"difference of {len(pairs):,} tensors ({size / 1e9:,.2f} GB)")
    for pair in pairs:
        if pair.tuned.shape != pair.raw.shape:
            print(
                f"{pair.tuned.name}: {pair.raw.shape[0]:,} rows in the base, {pair.tuned.shape[0]:,} in the tuned model"
            )
    unused = sorted(raw.tensors.keys() - {pair.raw.name for pair in pairs})
    if unused:
        print(f"{len(unused)} tensors of the base have no counterpart in the tuned model, such as {unused[0]}")


if __name__ == "__main__":
    main()
