"""The end of stage 1 as two files for people: report.html, one page with the pictures, and README.md, the dataset card.

Everything in them comes from the files of a run's folder: `survey.py` reads the rows once, `facts.py` puts that beside
statistics and settings, `page.py` and `card.py` write the two files.
"""
