"""SeqEval: are all tasks of an instruction attempted, which ones are not, and how good is the response (1 to 5)?

Quality and following are the paper's two verdicts (arXiv 2403.07794; its prompt is not published, ours is
`prompts/seqeval.yaml`). Beyond the paper, the judge lists the tasks and says for each whether it was done, which gives
the share followed by position and by chain length. `--prompt seqeval_short` asks for the paper's two verdicts alone.
"""

from collections import Counter

from eval.benchmarks import MetricInfo
from eval.judges import _figures
from eval.judges._items import Item
from eval.judges._llm import Kind, Outcome, Verdict, shown_text

MOST_POSITIONS = 8  # figures by position and by length; what lies beyond is in `tasks_followed` and in verdicts.jsonl
_FOLLOWING = MetricInfo(
    name="following",
    title="All tasks followed",
    about="the judge finds an attempt at every task of the instruction",
)
_QUALITY = MetricInfo(
    name="quality", title="Quality", about="of the response as a whole, as the judge rates it", unit="score"
)
_TASKS = MetricInfo(
    name="tasks_followed",
    title="Share of tasks followed",
    about="of the tasks that the judge finds in an instruction, how many are done; the mean over instructions",
)


def _shown(item: Item) -> list[dict[str, str]]:
    return [{"instruction": item.question, "response": shown_text(item.response)}]


def _outcome(items: list[Item], verdicts: list[list[Verdict | str]]) -> Outcome:
    said = [one for (one,) in verdicts]
    metrics = [_metrics(verdict, item) for item, verdict in zip(items, said, strict=True)]
    tasks = Counter(len(verdict["tasks"]) for verdict in said if not isinstance(verdict, str) and "tasks" in verdict)
    unreadable = sum(isinstance(verdict, str) for verdict in said)
    return Outcome(
        figures=_figures.figures(_infos(metrics), metrics),
        items=metrics,
        verdicts=[{"unreadable": one} if isinstance(one, str) else one for one in said],
        facts={
            "n": len(said) - unreadable,
            "unreadable": unreadable,
            "instructions_by_tasks": {str(number): count for number, count in sorted(tasks.items())},
        },
    )


def _metrics(verdict: Verdict | str, item: Item) -> dict[str, float]:
    if isinstance(verdict, str):
        return {"judge_unreadable": 1.0}
    following = float(verdict["following"])
    found = {"following": following, "quality": float(verdict["quality"]), "judge_unreadable": 0.0}
    # How often SeqEval's authors made the instruction longer: a field of their rows, a metric in our predictions.
    iteration = item.row.get("iteration", item.metrics.get("iteration"))
    if isinstance(iteration, int | float):
        found[f"following_iteration_{iteration:g}"] = following
    if "tasks" not in verdict:
        return found
    done = [float(task["done"]) for task in verdict["tasks"]]
    found["tasks_followed"] = sum(done) / len(done)
    found[f"following_of_{len(done)}" if len(done) <= MOST_POSITIONS else "following_of_more"] = following
    for place, value in enumerate(done[:MOST_POSITIONS], start=1):
        found[f"step_{place}"] = value
    return found


def _infos(metrics: list[dict[str, float]]) -> list[MetricInfo]:
    names = dict.fromkeys(name for item in metrics for name in item)
    lengths = [
        *(
            MetricInfo(f"following_of_{number}", about=f"all tasks followed, of instructions with {number}")
            for number in range(1, MOST_POSITIONS + 1)
        ),
        MetricInfo("following_of_more", about=f"all tasks followed, of instructions with more than {MOST_POSITIONS}"),
    ]
    iterations = [
        MetricInfo(name, about=f"all tasks followed, of instructions of {name.rpartition('_')[2]} iterations")
        for name in sorted(names)
        if name.startswith("following_iteration_")
    ]
    steps = [
        MetricInfo(f"step_{place}", about=f"task {place} followed, of instructions that have it", position=place)
        for place in range(1, MOST_POSITIONS + 1)
    ]
    return [_FOLLOWING, _TASKS, _QUALITY, *steps, *lengths, *iterations, _figures.UNREADABLE]


KIND = Kind(
    name="seqeval",
    title="SeqEval",
    about="chains of tasks; a judge says whether all are followed, and how well",
    shown=_shown,
    outcome=_outcome,
    verdicts=("tasks", "yes_no_score"),
)
check, judge = KIND.check, KIND.judge
