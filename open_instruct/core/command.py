"""The command line of every `python -m ...`: a settings dataclass in, one clear line out when something is wrong.

    if __name__ == "__main__":
        run(main, Settings)

Each field of `Settings` is a flag of the same name; its help text stands in `help_field`.
"""

import os
import re
import sys
import textwrap
from argparse import Action, ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
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

    parser = HfArgumentParser(
        settings_classes,
        prog=_started_as(),
        # The flags are many: a mistake in one of them must not drown in the names of all.
        usage="%(prog)s --flag value ...   (--help tells each flag)",
        description=for_terminal(sys.modules[main.__module__].__doc__ or ""),
        formatter_class=_Help,
    )
    *settings, unknown = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    if unknown:
        parser.error(f"unknown flags: {' '.join(unknown)}")
    guarded(main, *settings)


def _started_as() -> str:
    """What the user types in front of the flags."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else f"python {sys.argv[0]}"


class _Help(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Each flag once, defaults where there are any, and the description as it stands."""

    def add_argument(self, action: Action) -> None:
        # HfArgumentParser has `--no_x` beside every `--x` that is true by default: `--x false` says the same.
        if not (action.const is False and action.option_strings[0].startswith("--no_")):
            super().add_argument(action)

    def _format_action_invocation(self, action: Action) -> str:
        # ... and takes a hyphen for each underscore.
        names = [name for name in action.option_strings if "-" not in name.lstrip("-")]
        values = f" {self._format_args(action, action.dest.upper())}" if action.nargs != 0 else ""
        return ", ".join(names) + values

    def _metavar_formatter(self, action: Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        if action.choices is not None and len(action.choices) > 8:
            return lambda count: (default_metavar,) * count
        return super()._metavar_formatter(action, default_metavar)

    def _get_help_string(self, action: Action) -> str | None:
        if action.required:
            return f"{action.help} (required)"
        return action.help if action.default in (None, "", []) else super()._get_help_string(action)


def for_terminal(text: str) -> str:
    """A docstring in 80 columns: paragraphs and items of lists filled, commands (which are indented) as they are."""
    parts = []
    for part in text.strip().split("\n\n"):
        items = [part] if part.startswith(" ") else re.split(r"\n(?=- )", part)
        parts.append("\n".join(item if item.startswith(" ") else _filled(item) for item in items))
    return "\n\n".join(parts)


def _filled(item: str) -> str:
    return textwrap.fill(item, 80, subsequent_indent="  " if item.startswith("- ") else "", break_on_hyphens=False)


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
