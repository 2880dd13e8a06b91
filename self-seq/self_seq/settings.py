"""The settings of stage 1: one flag each of `python -m self_seq.generate`."""

from dataclasses import dataclass

from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.engines import names
from self_seq import hub
from self_seq.prompts import FOLDER
from self_seq.published import OPTIONS


@dataclass
class Settings:
    input_file: str = help_field("rows of instruction / input / output: JSONL or JSON, .gz too")
    output_dir: str = help_field("folder of the journals and results; the same folder again goes on")
    engine: str = help_field(f"who answers: {', '.join(names())}", "oracle")
    engine_options: list[str] = help_field("settings of the engine, each NAME=VALUE", [])
    iterations: int = help_field("times the instructions are rewritten", 2)
    num_tasks: int = help_field(
        "so many tasks in every instruction: each is counted first and grows by one an iteration until it holds them; "
        "0: as the generator sees fit (option D), in --iterations",
        0,
    )
    extract: bool = help_field("separate an input that stands within the instruction (FLAN) before rewriting", False)
    refine: bool = help_field("let the generator check and repair each rewritten instruction", False)
    it_answers: str = help_field(
        "answers of it.jsonl: 'generator' (as in the paper), 'source' (the file's own), 'none' (no it.jsonl)",
        "generator",
    )
    prompts: str = help_field("folder of prompt files", str(FOLDER))
    attempts: int = help_field("times a row is asked before a step gives up on it", 3)
    max_rows: int = help_field("only the first so many rows; -1 for all", -1)
    sample_rows: int = help_field("only so many rows, drawn by the seed; 0 for all", 0)
    temperature: float = help_field("of the generator's draws; 0 is greedy", 1.0)  # sampling as in the paper's release
    top_p: float = help_field("share of probability kept", 0.9)
    top_k: int = help_field("tokens kept; 0 for all", 50)
    max_tokens: int = help_field("longest answer in tokens", 2048)
    seed: int = help_field("of the draws", 42)
    near_duplicates: float = help_field(
        "drop rows whose words are this alike to an earlier row's (Jaccard similarity, such as 0.8); 0 keeps all", 0.0
    )
    decontaminate: list[str] = help_field(
        "evaluation files or folders: rows and answers that share 13 words in a row with them are dropped", []
    )
    judge_rows: int = help_field("so many rewritten rows, drawn by the seed, have their tasks counted at the end", 0)
    judge_engine: str = help_field("who counts them; empty: the generator", "")
    judge_engine_options: list[str] = help_field("settings of that engine, each NAME=VALUE", [])
    published: str = help_field(f"print our options beside the published ones of: {', '.join(OPTIONS)}", "alpaca")
    price_in: float = help_field("price of a million prompt tokens of the generator, for costs", 0.0)
    price_out: float = help_field("price of a million answer tokens of the generator, for costs", 0.0)
    dry_run: bool = help_field("print rows, requests, tokens, cost and time, and ask nothing", False)
    tokenizer: str = help_field("checkpoint folder that counts tokens in a dry run; empty: 4 characters a token", "")
    measured_run: str = help_field("output folder of a small finished run, whose shares and rate a dry run takes", "")
    tokens_per_second: float = help_field("answer tokens a second that the engine writes, for a dry run's time", 0.0)
    source_name: str = help_field("name of the input set, for the dataset card", "")
    source_license: str = help_field("its licence, as the Hugging Face hub names licences", "")
    source_url: str = help_field("where it comes from", "")
    push_to_hub: str = help_field("upload the result as this dataset, OWNER/NAME (HF_TOKEN says who you are)", "")
    hub_public: bool = help_field("let everybody see it", False)


def check(settings: Settings) -> None:
    """Refuse settings that cannot be meant.

    Raises:
        UserError: names the setting and what was expected.
    """
    if settings.it_answers not in ("generator", "source", "none"):
        raise UserError(f"--it_answers {settings.it_answers}: expected generator, source or none")
    if settings.iterations < 1 or settings.attempts < 1:
        raise UserError("--iterations and --attempts must be at least 1")
    if settings.max_rows == 0 or settings.max_rows < -1:
        raise UserError("--max_rows must be at least 1, or -1 for all")
    if settings.sample_rows < 0 or settings.judge_rows < 0:
        raise UserError("--sample_rows and --judge_rows must be 0 or more")
    if settings.num_tasks < 0 or settings.num_tasks == 1:
        raise UserError("--num_tasks must be at least 2, or 0 to leave it to the generator")
    if not 0 <= settings.near_duplicates <= 1:
        raise UserError(f"--near_duplicates {settings.near_duplicates}: expected a similarity between 0 and 1")
    if settings.temperature < 0 or not 0 < settings.top_p <= 1 or settings.top_k < 0 or settings.max_tokens < 1:
        raise UserError(
            "expected --temperature 0 or more, --top_p above 0 and at most 1, --top_k 0 or more, "
            "--max_tokens at least 1"
        )
    if min(settings.price_in, settings.price_out, settings.tokens_per_second) < 0:
        raise UserError("--price_in, --price_out and --tokens_per_second must be 0 or more")
    if settings.published not in OPTIONS:
        raise UserError(f"--published {settings.published}: expected one of {', '.join(OPTIONS)}")
    if settings.push_to_hub:
        hub.check(settings.push_to_hub)
