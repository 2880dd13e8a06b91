"""The parts of fine-tuning: rows to tokens, packed batches, checkpoints to go on from. See `open_instruct.finetune`."""
