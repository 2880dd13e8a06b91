"""What runs the model of an evaluation: each file here is a backend, named after it; `base.py` is the contract.

`eval.run` asks for one by its name. Who wants another writes one file with `check`, `identity` and `open_model`.
"""

import importlib
import pkgutil
from types import ModuleType

from open_instruct.core.errors import UserError


def names() -> list[str]:
    """The backends there are."""
    return sorted(one.name for one in pkgutil.iter_modules(__path__) if one.name not in _NO_BACKENDS)


def backend(name: str) -> ModuleType:
    """The module of a backend; it imports no library before its `open_model` is called.

    Raises:
        UserError: there is none of that name; the line lists those there are.
    """
    if name not in names():
        raise UserError(f"no backend named {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")


_NO_BACKENDS = ("base", "streamed", "window")
