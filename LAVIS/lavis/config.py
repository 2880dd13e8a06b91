"""The YAML settings of training and evaluation: sections `model`, `datasets` and `run`, each a dataclass.

    read(settings.Training, "lavis/projects/instructblip/caption_coco_vicuna7b_train.yaml", ["run.max_epoch=1"])

Layout and names are LAVIS's. What stands in `model` is laid over `lavis/configs/models/blip2/blip2_instruct_TYPE.yaml`,
and `--options section.key=value` over both. `${ROOT}` in a value is this checkout, other `${NAME}`s come from the
environment; a relative path is relative to where the user stands. The keys themselves are told in `settings.py`.
"""

import dataclasses
import difflib
import os
import re
import types
import typing
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lavis.settings import Model
from open_instruct.core.errors import UserError

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
MODEL_CONFIGS = Path(__file__).resolve().parent / "configs" / "models" / "blip2"


# Keys of LAVIS's own files that have no meaning here, and why.
_NOT_HERE = {
    "vis_processor": "the checkpoint's own image processor is used",
    "text_processor": "rows hold the text as it is asked",
    "data_type": "images are all there is",
    "load_finetuned": "name the trained parts in model.finetuned, or leave that empty",
    "load_pretrained": "model.pretrained is always loaded",
    "task": "train.py trains and evaluate.py evaluates",
    "lr_sched": "it is linear_warmup_cosine_lr, as published",
    "world_size": "the launcher says how many processes there are",
    "dist_url": "the launcher says how processes find each other",
    "distributed": "the launcher says how many processes there are",
    "resume_ckpt_path": "the same command goes on from its last checkpoint",
    "evaluate": "train.py trains and evaluate.py evaluates",
    "image_size": "it is the checkpoint's",
    "num_query_token": "it is the checkpoint's",
    "use_grad_checkpoint": "it is run.gradient_checkpointing",
}


def read(kind: type[T], path: str, options: list[str]) -> T:
    """The settings of a YAML file, with `options` over them.

    Args:
        kind: `Training` or `Evaluation`.
        path: the file.
        options: `section.key=value` each, value in YAML.

    Raises:
        UserError: the file cannot be read, or a key or value is wrong: its place, and the nearest key that is right.
    """
    values = _yaml(Path(path))
    for option in options:
        _lay_over(values, option)
    model = values.get("model")
    if isinstance(model, dict) and isinstance(model.get("model_type"), str):
        values["model"] = {**_model_defaults(model["model_type"], path), **model}
    return _take(kind, values, path, "")


def _model_defaults(model_type: str, where: str) -> dict[str, Any]:
    file = MODEL_CONFIGS / f"blip2_instruct_{model_type}.yaml"
    if not file.is_file():
        known = sorted(one.stem.removeprefix("blip2_instruct_") for one in MODEL_CONFIGS.glob("*.yaml"))
        raise UserError(
            f"{where}: model.model_type: {model_type!r} has no file in {MODEL_CONFIGS}; {_known(model_type, known)}"
        )
    values = _yaml(file).get("model")
    if not isinstance(values, dict):
        raise UserError(f"{file}: no section `model`; see the files beside it")
    for key, value in values.items():  # here, so that a mistake in this file is told with its name
        _take_field(Model, key, value, str(file), "model")
    return values


def _yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected a YAML file (--cfg-path)") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no settings; expected sections model, datasets and run")
    return values


def _lay_over(values: dict[str, Any], option: str) -> None:
    keys, equals, text = option.partition("=")
    if not equals or "" in keys.split("."):
        raise UserError(f"--options {option}: expected section.key=value, such as run.max_epoch=1")
    *sections, last = keys.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--options {option}: {section} is no section")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--options {option}: the value is no YAML: {' '.join(str(error).split())}") from error
    if values[last] is None:
        values[last] = ""


def _take(kind: type[T], values: Any, file: str, place: str) -> T:
    """A dataclass from a mapping, checked."""
    if not isinstance(values, dict):
        raise UserError(f"{file}: {place or 'the file'} must be a section of settings")
    taken = {key: _take_field(kind, key, value, file, place) for key, value in values.items()}
    missing = [one for one in dataclasses.fields(kind) if one.name not in taken and _has_no_default(one)]
    if missing:
        raise UserError(f"{file}: {_join(place, missing[0].name)} is missing: {missing[0].metadata['help']}")
    for one in dataclasses.fields(kind):  # a default may name ${ROOT}, too
        if one.name not in taken:
            default = one.default if one.default is not MISSING else one.default_factory()
            taken[one.name] = _convert(_type_of(kind, one.name), default, file, _join(place, one.name))
    return kind(**taken)


def _take_field(kind: type, key: str, value: Any, file: str, place: str) -> Any:
    known = [one.name for one in dataclasses.fields(kind)]
    if key in known:
        return _convert(_type_of(kind, key), value, file, _join(place, key))
    why = f"{_NOT_HERE[key]}; leave it out" if key in _NOT_HERE else _known(str(key), known)
    raise UserError(f"{file}: no setting {_join(place, key)}; {why}")


def _convert(kind: Any, value: Any, file: str, place: str) -> Any:
    """`value` as what the setting takes."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _take(kind, value, file, place)
    if origin is dict:
        if not isinstance(value, dict) or not value:
            raise UserError(f"{file}: {place} must be a section with one entry or more")
        return {str(name): _convert(arguments[1], one, file, _join(place, str(name))) for name, one in value.items()}
    if origin in (types.UnionType, typing.Union):  # one text, or a list of them
        return _convert(list[str] if isinstance(value, list) else str, value, file, place)
    if origin is list:
        values = value if isinstance(value, list) else [value]
        return [_convert(arguments[0], one, file, place) for one in values]
    if kind is float and isinstance(value, str):  # YAML 1.1 takes 1e-5 for text
        try:
            return float(value)
        except ValueError:
            pass
    if kind is float and type(value) is int:
        return float(value)
    if kind is str and type(value) in (int, float):
        value = str(value)
    if type(value) is not kind:
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        raise UserError(f"{file}: {place} is {value!r}, expected {names[kind]}")
    return _expanded(value, file, place) if kind is str else value


def _expanded(text: str, file: str, place: str) -> str:
    def value_of(match: re.Match) -> str:
        name = match[1]
        if name == "ROOT":
            return str(ROOT)
        if name not in os.environ:
            raise UserError(f"{file}: {place} names ${{{name}}}, and no such variable is set")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value_of, text)


def _known(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"


def _type_of(kind: type, name: str) -> Any:
    return typing.get_type_hints(kind)[name]


def _has_no_default(one: dataclasses.Field) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else str(key)
