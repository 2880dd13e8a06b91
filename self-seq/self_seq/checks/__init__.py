"""What the program itself checks: `rewrites.py` a rewritten instruction, `refusals.py` an answer.

`contents.py` and `quantities.py` find what an instruction holds that a rewriting must not lose.
"""
