"""Figures of the publication (arXiv 2406.04371) that ours are shown beside. `split.py` and `win_rates.py` read them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A row of Table 1: thousands of rows, mean difficulty, mean tokens of a row."""

    thousands: float
    difficulty: float
    tokens: float


# Section 3.2: of both data sets, stage 1 is [1, 1.5), stage 2 [1.5, 3.5), stage 3 [3.5, 5].
THRESHOLDS = (1.5, 3.5)
TABLE_1 = {
    "Alpaca": (Stage(30.3, 1.00, 63.16), Stage(14.7, 2.21, 106.83), Stage(6.8, 4.25, 134.40)),
    "Alpaca-cleaned": (Stage(23.9, 1.00, 113.42), Stage(16.4, 2.22, 200.99), Stage(11.4, 4.25, 301.60)),
}

# The six sets in the order of Table 2, by the name of their benchmark here, with their sizes.
SETS = {
    "instruct_self_instruct": ("Self-Instruct", 252),
    "instruct_wizardlm": ("WizardLM", 218),
    "instruct_koala": ("Koala", 180),
    "instruct_vicuna": ("Vicuna", 80),
    "instruct_oasst": ("OASST", 188),
    "instruct_anthropic": ("Anthropic", 129),
}
# Average win rate less one half against one-off tuning on Alpaca, in points (Llama-2 7B, Llama-2 13B), by what was
# trained after what, as `plan.py` names it: Tables 2, 3, 4 and 5.
AGAINST_ONE_OFF = {
    "1": (-9.59, -7.83),
    "1-2": (3.34, 3.77),
    "1-2-3": (7.26, 7.35),
    "2-1-3": (4.59, 5.57),
    "3-1-2": (2.26, 2.71),
    "1-3-2": (2.14, 3.53),
    "2-3-1": (-4.58, -6.44),
    "3-2-1": (-4.58, -7.09),
    "2": (1.14, 2.66),
    "3": (4.44, 5.80),
    "1+2": (-1.62, -0.09),
    "1+3": (-1.91, 1.33),
    "2+3": (3.53, 5.68),
    "random-1-2-3": (-0.42, -2.10),
}
