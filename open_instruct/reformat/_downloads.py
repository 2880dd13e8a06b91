"""What `scripts/prepare_train_data.sh` has to fetch, a line a file, fields between tabs.

    python -m open_instruct.reformat._downloads dolly cot      # without names: every source

Fields: source, file name, address, bytes, SHA-256, page; "-" where one is not known.
"""

import sys

from open_instruct import reformat
from open_instruct.core.command import guarded


def main(names: list[str]) -> None:
    for name in names or reformat.names():
        source = reformat.module(name).SOURCE
        for file in source.files:
            fields = (name, file.name, file.url or "-", str(file.bytes or "-"), file.sha256 or "-", source.page)
            print("\t".join(fields))


if __name__ == "__main__":
    guarded(main, sys.argv[1:])
