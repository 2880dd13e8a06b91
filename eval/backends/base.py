"""The contract of a backend: a module of this folder with three functions, and what they are given.

    check(plan, needs)         refuses what cannot work, before anything is loaded
    identity(plan)             what the model's answers depend on, for results and journals to compare
    open_model(plan, needs)    a model of lm-evaluation-harness (`lm_eval.api.model.LM`)

A model may have, beyond what lm-evaluation-harness asks for, a method `answers(kind, requests, draws)` that yields
(place, answer) as the answers come: then each is on the disk at once (`eval/resume.py`). And a method `close`.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        model: checkpoint folder; for `api` the model's name at the server.
        dtype: number format of the weights: auto, float32, bfloat16, float16.
        device: cpu, cuda, ...; "" for cuda where there is one.
        batch_size: requests at once, where the backend does not see to it by itself.
        seed: of sampled answers.
        options: more settings of the backend, each "setting=value".
    """

    model: str
    dtype: str = "auto"
    device: str = ""
    batch_size: int = 128
    seed: int = 0
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Needs:
    """What the benchmarks of a run ask of the model.

    Attributes:
        likelihood: names of those that compare the likelihoods of given answers.
        rolling: names of those that need the likelihood of whole texts.
        plain: names of those whose prompt is plain text, without the chat template.
        chat: names of all others.
    """

    likelihood: tuple[str, ...] = ()
    rolling: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    chat: tuple[str, ...] = ()


NONE = Needs()
