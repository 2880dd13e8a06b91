"""Who answers a prompt. `base.py` is the contract; every other file here is an engine, named after its file.

`openai_batch.py` is `openai-batch` on the command line. Files that begin with `_` are parts of engines.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from open_instruct.core.errors import UserError
from open_instruct.engines.base import Engine


def names() -> list[str]:
    """The engines there are: the files of this folder."""
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(file.replace("_", "-") for file in files if file != "base" and not file.startswith("_"))


def open_engine(name: str, options: list[str]) -> Engine:
    """Start the engine `name` with `options`, each `setting=value`.

    Raises:
        UserError: no such engine or setting, or a value that is not of the setting's type; the line names those
            there are.
    """
    module = _module(name)
    return module.Engine(_settings(module, name, options))


def check_options(name: str, options: list[str]) -> None:
    """Refuse options that `open_engine` would refuse; nothing is started.

    Raises:
        UserError: no such engine or setting, or a value that is not of the setting's type.
    """
    _settings(_module(name), name, options)


def identity(name: str, options: list[str]) -> dict[str, str]:
    """What of an engine decides its answers, for a journal to compare.

    Its name and options, without those that only decide its speed (the names in its module's `SPEED_ONLY`), and what
    the files behind them hold: the checkpoint folder `path`, or what the module's function `content(options)` returns.
    It reads those files whole: call it once a run.

    Raises:
        UserError: no such engine or setting.
    """
    module = _module(name)
    values = _split(name, options, [field.name for field in fields(module.Settings)])
    found = {key: value for key, value in values.items() if key not in getattr(module, "SPEED_ONLY", ())}
    if hasattr(module, "content"):
        found["content"] = module.content(values)
    elif "path" in values and Path(values["path"]).is_dir():
        from open_instruct.core.checkpoint import fingerprint

        found["content"] = fingerprint(Path(values["path"]))
    return {"name": name, **found}


def _module(name: str):
    if name not in names():
        raise UserError(f"no engine named {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def _settings(module, name: str, options: list[str]):
    types = {field.name: field.type for field in fields(module.Settings)}
    values = {
        key: _read(text, types[key], f"engine {name}: {key}") for key, text in _split(name, options, types).items()
    }
    try:
        return module.Settings(**values)
    except TypeError as error:  # a setting without default was not given
        raise UserError(
            f"engine {name}: {str(error).split('() ')[-1]} (give it as --engine_options SETTING=VALUE)"
        ) from error


def _split(name: str, options: list[str], known: Iterable[str]) -> dict[str, str]:
    """The options as texts. What is none is not repeated whole: it may be a key in a wrong place."""
    values = {}
    for option in options:
        key, equals, text = option.partition("=")
        if key not in known or not equals:
            told = repr(key) if key.isidentifier() and len(key) <= 30 else "one of the options"
            raise UserError(f"engine {name}: {told} is no setting=value; its settings are: {', '.join(known)}")
        values[key] = text
    return values


def _read(text: str, kind: type, what: str):
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise UserError(f"{what} must be of type {kind.__name__}, not {text!r}") from error
