"""Source datasets, to conversations. `base.py` is the contract; every other file is a source, named after its file.

    python -m open_instruct.reformat --source dolly --input data/train/dolly --output dolly_data.jsonl

Files that begin with `_` are parts of the command. `scripts/prepare_train_data.sh` downloads and calls it.
"""

import importlib
import pkgutil

from open_instruct.core.errors import UserError
from open_instruct.reformat.base import Module


def names() -> list[str]:
    """The sources there are: the files of this folder."""
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(file for file in files if file != "base" and not file.startswith("_"))


def module(name: str) -> Module:
    """The source `name`.

    Raises:
        UserError: there is none; the line names those there are.
    """
    if name not in names():
        raise UserError(f"no source named {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")
