"""Stage 1: single instructions in, sequential instructions out.

The scripts in `self-seq/scripts` run it. It stands on `open_instruct.core` and `open_instruct.engines` and knows
neither fine-tuning nor evaluation: those read the files that it writes.
"""
