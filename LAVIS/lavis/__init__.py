"""Vision-language instruction tuning: an InstructBLIP that describes the image first and then answers.

`LAVIS/make_instruct_data.py`, `train.py` and `evaluate.py` are its commands; `LAVIS/README.md` shows them.
"""
