"""How answers are scored, whatever the benchmark: numbers, spans of text, letters of choices, tasks in order.

Tasks of `eval/tasks` and `eval.rescore` call it. It knows no benchmark and no model; only `data_files` reads files.
"""
