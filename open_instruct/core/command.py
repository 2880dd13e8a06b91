"""The command line of every `python -m ...`: a settings dataclass in, one clear line out when something is wrong.

    if __name__ == "__main__":
        run(main, Settings)

Each field of `Settings` is a flag of the same name; its help text stands in `help_field`.
"""

import os
import sys
import textwrap
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import MISSING, field
from typing import Any

from open_instruct.core.errors import UserError, disk_error, is_full_disk


def help_field(text: str, default: Any = MISSING, **more: Any) -> Any:
    """A dataclass field with its help text; without `default` the flag must be given."""
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": text, **more})
    return field(default=default, metadata={"help": text, **more})


def run(main: Callable[..., None], *settings_classes: type, arguments: list[str] | None = None) -> None:
    """Parse the command line into the settings classes, call `main` with them, and end the process on a `UserError`.

    Args:
        main: takes one object of each settings class, in their order.
        settings_classes: dataclasses; `transformers.HfArgumentParser` makes a flag of each field.
        arguments: instead of `sys.argv[1:]`.
    """
    from transformers import HfArgumentParser  # half a second: only what runs as a command pays it

    description = (sys.modules[main.__module__].__doc__ or "").strip()
    # The flags are many: a mistake in one of them must not drown in the names of all.
    usage = "%(prog)s --flag value ...   (--help tells each flag)"
    parser = HfArgumentParser(
        settings_classes, description=_paragraphs(description), usage=usage, formatter_class=_Help
    )
    *settings, unknown = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    if unknown:
        parser.error(f"unknown flags: {' '.join(unknown)}")
    guarded(main, *settings)


class _Help(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Defaults told, and the description as it stands."""


def _paragraphs(text: str) -> str:
    """A docstring for a terminal: its paragraphs filled, its commands (which are indented) as they are."""
    return "\n\n".join(part if part.startswith(" ") else textwrap.fill(part, 80) for part in text.split("\n\n"))


def guarded(main: Callable[..., None], *arguments: Any) -> None:
    """Call `main`; a `UserError` or a failed write becomes one line on standard error and exit code 1."""
    try:
        main(*arguments)
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # the reader of our output went away (`... | head`)
        os._exit(141)
    except KeyboardInterrupt:
        sys.exit("interrupted: what was finished is kept; the same command goes on from there")
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            sys.exit(f"error: {disk_error(error, error.filename)}")
        if not is_full_disk(error):
            raise
        sys.exit("error: the disk is full. Everything finished is kept; make room and run the same command again.")
