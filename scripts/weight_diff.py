#!/usr/bin/env python
"""Make the difference of a tuned model to its base, or put it back onto the base: see open_instruct/weight_diff.py.

    python scripts/weight_diff.py make_diff --path_raw BASE --path_tuned TUNED --path_diff DIFF
    python scripts/weight_diff.py recover --path_raw BASE --path_tuned TUNED --path_diff DIFF

Needs only weight-diff-requirements.txt, and this checkout need not be installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from open_instruct.weight_diff import main  # noqa: E402

if __name__ == "__main__":
    main()
