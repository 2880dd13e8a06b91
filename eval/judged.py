"""Who judged, and whether the verdicts on several runs compare: only those of one judge, asked alike, do.

Called by `eval.facts`, which warns at the top of a report, by `eval.comparisons`, which calls no run better on verdicts
that do not compare, and by `eval.judges`.
"""

from pathlib import Path

from eval.results import Result


def name(judge: dict[str, str]) -> str:
    """A judge as a reader knows it, from its identity in metrics.json: "openai gpt-4.1"."""
    return " ".join(filter(None, (judge["name"], judge.get("model") or Path(judge.get("path", "")).name)))


def unlike(runs: dict[str, Result], metric: str = "") -> list[str]:
    """What sets the verdicts on runs apart, as what comes after "was judged"; empty where they compare.

    Args:
        runs: the results on one benchmark by run.
        metric: only of the judges that gave this figure.
    """
    told: dict[str, None] = {}
    for kind in dict.fromkeys(kind for one in runs.values() for kind in one.judges):
        said = {run: one.judges[kind] for run, one in runs.items() if kind in one.judges}
        if metric and not any(metric in facts.get("metrics", ()) for facts in said.values()):
            continue
        judges = {run: name(facts["engine"]) for run, facts in said.items() if "engine" in facts}
        if len(set(judges.values())) > 1:
            told[f"by different judges ({'; '.join(f'{run} by {judge}' for run, judge in judges.items())})"] = None
        for what, how in (("prompt", "with different prompts"), ("reference", "against different answers")):
            found = {(runs[run].n, facts[what]) for run, facts in said.items() if what in facts}
            if len(found) > len({n for n, _ in found}):  # of fewer items, prompts and answers are others anyway
                told[how] = None
    return list(told)
