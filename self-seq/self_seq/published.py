"""Published figures that a run is shown beside.

Option distributions, in percent of all rows, rows kept earlier counted as D. Source: the notebooks of the SIT paper's
working repository (simonucl/Seq_IT, ablation/iter/count.ipynb), generator Meta-Llama-3-70B-Instruct.
"""

from typing import Any

OPTIONS: dict[str, dict[str, Any]] = {
    "alpaca": {
        "name": "Alpaca, Llama-3-70B-Instruct",
        "rows": 51_760,
        "iterations": [
            {"A": 24.50, "B": 51.24, "C": 7.41, "D": 16.85},
            {"A": 30.39, "B": 3.78, "C": 2.80, "D": 63.03},
            {"A": 6.08, "B": 0.19, "C": 0.20, "D": 93.53},
            {"A": 1.00, "B": 0.02, "C": 0.02, "D": 98.96},
        ],
    },
    "flancot": {
        "name": "FlanCoT, Llama-3-70B-Instruct",
        "rows": 100_000,
        "iterations": [
            {"A": 22.73, "B": 48.08, "C": 8.06, "D": 21.13},
            {"A": 31.39, "B": 1.39, "C": 1.11, "D": 66.11},
            {"A": 6.39, "B": 0.17, "C": 0.22, "D": 93.23},
            {"A": 1.39, "B": 0.03, "C": 0.03, "D": 98.54},
        ],
    },
}


def options_line(iteration: int, counts: dict[str, int], published: str) -> str:
    """Our shares of the options in an iteration, and below them those published for the set `published`, if named."""
    total = max(sum(counts.values()), 1)
    ours = "  ".join(f"{option} {100 * counts[option] / total:5.2f} %" for option in "ABCD")
    if counts["unreadable"]:
        ours += f"  unreadable {100 * counts['unreadable'] / total:.2f} %"
    lines = [f"iteration {iteration}:  {ours}", "  (A decompose, B prefix, C suffix, D keep)"]
    found = OPTIONS.get(published)
    if found and iteration <= len(found["iterations"]):
        theirs = "  ".join(f"{option} {share:5.2f} %" for option, share in found["iterations"][iteration - 1].items())
        lines.insert(1, f"published:    {theirs}  {found['name']}")
    return "\n".join(lines)
