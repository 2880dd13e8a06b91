"""Any server that speaks OpenAI's protocol: OpenAI, `vllm serve`, llama.cpp, ...; many requests on their way at once.

    --backend api --model NAME --backend_options base_url=http://HOST:8000/v1
    --backend api --model NAME --backend_options base_url=... tokenizer=CHECKPOINT     # likelihoods, too

Without `tokenizer` the server is given the messages of a chat and puts its own template around them. With it (a folder
with the model's tokenizer and chat template) it is given tokens, as the other backends give them to their model: only
so can it say how likely an answer is, which it must be able to (`/completions` with `echo` and `logprobs`; `vllm serve`
is). All other options are those of the engine `openai` (in_flight, timeout, requests_per_minute, api_key_env, ...).
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.backends.base import NONE, Needs, Plan
from eval.backends.window import SPARE
from open_instruct.core import checkpoint
from open_instruct.core.errors import UserError
from open_instruct.engines import check_options, open_engine
from open_instruct.engines import identity as engine_identity
from open_instruct.engines._chat import is_filtered
from open_instruct.engines.base import Request, Sampling


def check(plan: Plan, needs: Needs) -> None:
    """Refuse what cannot work.

    Raises:
        UserError: an option or the key is wrong, or a benchmark needs what this server was not said to do.
    """
    options, tokenizer = _options(plan)
    check_options("openai", options)
    open_engine("openai", options).close()  # checks address and key; it sends nothing
    if needs.rolling:
        raise UserError(f"{', '.join(needs.rolling)}: scores whole texts, which only --backend hf does")
    if needs.likelihood and not tokenizer:
        raise UserError(
            f"{', '.join(needs.likelihood)}: compares how likely answers are. A server can tell only for tokens: give "
            "--backend_options tokenizer=FOLDER, the model's tokenizer and chat template; or leave these benchmarks out"
        )
    if tokenizer and not any((Path(tokenizer) / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise UserError(f"--backend_options tokenizer={tokenizer}: no tokenizer.json there")


def identity(plan: Plan) -> dict[str, Any]:
    """What answers depend on, as far as anybody here can know: the model's name, and the options beside speed."""
    options, tokenizer = _options(plan)
    found = engine_identity("openai", options)
    prints = checkpoint.fingerprint(Path(tokenizer)) if tokenizer else ""
    return {"checkpoint": f"api:{plan.model}", "engine": found, "tokenizer": prints}


def open_model(plan: Plan, needs: Needs = NONE) -> Any:
    """The connection to the server; where likelihoods are needed, one small request shows that it knows them.

    Raises:
        UserError: there is no such server, or it cannot tell how likely a text is.
    """
    from eval.backends.streamed import Streamed, ended, generation

    options, folder = _options(plan)

    class Server(Streamed):
        def __init__(self) -> None:
            self._engine = open_engine("openai", options)
            self._filtered = 0
            window = self._window() if folder else None
            super().__init__(checkpoint.load_tokenizer(folder)[0] if folder else None, window)
            if needs.likelihood:
                self._probe()

        def close(self) -> None:
            self._engine.close()
            if self._filtered:
                print(f"{self._filtered:,} prompts were refused by the provider's filter: they count as empty answers")

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            if self.tokenizer is not None:
                return super().apply_chat_template(chat_history, add_generation_prompt)
            if not add_generation_prompt:
                raise UserError(
                    "the task begins the model's answer, which a chat server cannot be asked to go on with. Give "
                    "--backend_options tokenizer=FOLDER, the model's tokenizer and chat template"
                )
            return json.dumps(chat_history, ensure_ascii=False)

        def answers(self, kind: str, requests: list[Any], draws: list[int]) -> Iterator[tuple[int, Any]]:
            if kind == "loglikelihood":
                yield from self._likelihoods(requests)
            elif requests and self.tokenizer is None and _messages(requests[0].args[0]):
                yield from self._chats(requests, draws)
            else:
                yield from self._texts(requests, draws)

        def _chats(self, requests: list[Any], draws: list[int]) -> Iterator[tuple[int, str]]:
            def asked() -> Iterator[Request]:
                for place, (request, draw) in enumerate(zip(requests, draws, strict=True)):
                    text, settings = request.args
                    until, longest, drawn = generation(settings, self.max_gen_toks)
                    seed = _seed(plan.seed, draw, text)
                    # Servers take four texts at most that end an answer; `ended` knows them all.
                    sampling = Sampling(max_tokens=longest, stop=tuple(until[:4]), seed=seed, **_known(drawn))
                    yield Request(place, tuple(_messages(text)), sampling)

            for completion in self._engine.complete(asked()):
                if completion.error and not is_filtered(completion.error):
                    raise UserError(_unanswered(completion.error))
                self._filtered += bool(completion.error)
                until, _, _ = generation(requests[completion.key].args[1], self.max_gen_toks)
                yield completion.key, ended(completion.text, until)

        def _texts(self, requests: list[Any], draws: list[int]) -> Iterator[tuple[int, str]]:
            def bodies() -> Iterator[tuple[int, dict[str, Any]]]:
                for place, (request, draw) in enumerate(zip(requests, draws, strict=True)):
                    text, settings = request.args
                    until, longest, drawn = generation(settings, self.max_gen_toks)
                    prompt = self.prompt(text, longest) if self.tokenizer else text
                    body = {"prompt": prompt, "max_tokens": longest, "seed": _seed(plan.seed, draw, text), **drawn}
                    yield place, {"model": plan.model, **body, **({"stop": until[:4]} if until else {})}

            for place, answer in self._post(bodies()):
                until, _, _ = generation(requests[place].args[1], self.max_gen_toks)
                yield place, ended(answer["text"], until)

        def _likelihoods(self, requests: list[Any]) -> Iterator[tuple[int, tuple[float, bool]]]:
            def bodies() -> Iterator[tuple[int, dict[str, Any]]]:
                for place, request in enumerate(requests):
                    tokens, _ = self.scored(*request.args)
                    yield place, {"model": plan.model, "prompt": tokens, **_ECHO}

            for place, answer in self._post(bodies()):
                yield place, _scores(answer, self.scored(*requests[place].args)[1])

        def _probe(self) -> None:
            try:
                body = {"model": plan.model, "prompt": self.scored("a", " b")[0], **_ECHO}
                for _, answer in self._post(iter([(0, body)])):
                    _scores(answer, 1)
            except UserError as error:
                raise UserError(
                    f"{', '.join(needs.likelihood)}: compares how likely answers are, which the server does not tell "
                    f"(/completions with echo and logprobs, as `vllm serve` has it). Leave these out: {error}"
                ) from error

        def _post(self, bodies: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, Any]]:
            for key, answer in self._engine.post("completions", bodies):
                if isinstance(answer, str):
                    raise UserError(_unanswered(answer))
                choices = answer.get("choices")
                if not choices or not isinstance(choices[0].get("text"), str):
                    raise UserError(_unanswered("an answer without text; is it a server of /completions?"))
                yield key, choices[0]

        def _window(self) -> int | None:
            """Of the checkpoint that the tokenizer belongs to."""
            config = checkpoint.load_tokenizer(folder)[1].get_text_config()
            found = getattr(config, "max_position_embeddings", None)
            return found - SPARE if found else None

    return Server()


def _scores(choice: dict[str, Any], length: int) -> tuple[float, bool]:
    """Log-likelihood of the last `length` tokens of the prompt, and whether each of them was the likeliest one."""
    found = choice.get("logprobs") or {}
    logprobs, likeliest = found.get("token_logprobs"), found.get("top_logprobs")
    if not logprobs or len(logprobs) < length + 2 or any(one is None for one in logprobs[-length - 1 :]):
        raise UserError("backend api: the server answers without the likelihoods of the prompt")
    ours = slice(-length - 1, -1)  # the very last token is the one it wrote
    greedy = all(
        one is not None and logprob >= max(one.values())
        for logprob, one in zip(logprobs[ours], (likeliest or [None] * len(logprobs))[ours], strict=True)
    )
    return sum(logprobs[ours]), greedy


def _messages(text: str) -> list[dict[str, str]]:
    """The chat that `apply_chat_template` put into a prompt; empty if the prompt is plain text."""
    if not text.startswith('[{"role":'):
        return []
    return json.loads(text)


def _known(drawn: dict[str, Any]) -> dict[str, Any]:
    unknown = set(drawn) - {"temperature", "top_p", "top_k"}
    if unknown:
        raise UserError(f"backend api: the task's generation_kwargs {', '.join(sorted(unknown))} are no server's")
    return drawn


def _seed(seed: int, draw: int, text: str) -> int:
    return zlib.crc32(f"{seed} {draw} {text}".encode(errors="replace"))


def _unanswered(reason: str) -> str:
    return f"backend api: {reason}. What was answered is kept, and the same command goes on from there"


def _options(plan: Plan) -> tuple[list[str], str]:
    """The engine's options, and the tokenizer's folder."""
    ours = [one for one in plan.options if one.startswith("tokenizer=")]
    others = [one for one in plan.options if one not in ours]
    return [f"model={plan.model}", *others], ours[-1].partition("=")[2] if ours else ""


_ECHO = {"max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0.0}
