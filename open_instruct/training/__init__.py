"""The parts of fine-tuning: rows to tokens, packed batches, what is trained and how. See `open_instruct.finetune`."""
