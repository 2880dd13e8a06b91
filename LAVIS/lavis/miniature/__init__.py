"""The embedded world of pictures: coloured shapes, questions about who is where, and a small InstructBLIP."""
