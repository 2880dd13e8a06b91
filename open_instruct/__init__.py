"""Stage 2, fine-tuning, and the core that every stage stands on."""
