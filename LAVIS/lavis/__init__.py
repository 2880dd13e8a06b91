"""Vision-language instruction tuning: caption-then-answer with InstructBLIP from transformers.

The package holds the room that `pyproject.toml` and docs name; the code comes with the vision-language issue.
"""
