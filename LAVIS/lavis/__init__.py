"""Vision-language instruction tuning: caption-then-answer with InstructBLIP. There is no code here yet."""
