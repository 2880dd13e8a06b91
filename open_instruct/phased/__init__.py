"""Phased instruction fine-tuning (arXiv 2406.04371): easy rows first, then harder ones, each from the last weights.

`score.py` gives each row its difficulty, `split.py` cuts the rows into stages, `plan.py` says what is trained after
what, `stop.py` ends it, and `win_rates.py` shows what came of it. The scripts of `scripts/phased` run them; training is
`open_instruct.finetune`, judging `eval.judges`. See docs/phased.md.
"""
