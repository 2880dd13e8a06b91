"""Stage 3: what a fine-tuned model can do, as tasks of lm-evaluation-harness on local data.

`scripts/evaluation.sh` runs it. It reads a checkpoint folder and its benchmarks' data, and knows no other stage.
"""
