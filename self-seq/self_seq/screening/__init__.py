"""Which rows are left out before anything is asked.

`screen.py` decides, `duplicates.py` and `contamination.py` find.
"""
