"""Task-driven sequential instructions: one or two tasks in front of a row's own, and their answers in front.

`python -m self_seq.task_driven --task NAME` makes a training set, `python -m self_seq.test_sets` test sets in the same
forms. `forms.py` has the wording and the target of every form and nothing else may; a further task is one line there
and, where it needs more than the row itself, one file here, named in `__main__.py`.
"""
