"""Prompts of instruction rows: the random templates of the Tulu mixtures, and few-shot prompts.

Used by the sources whose published conversion draws a template a row, so that a model does not learn one layout alone.
Weights and layouts as in allenai/open-instruct e44fcf588, instruction_encode_templates.py (14 with an input, 14
without one).
"""

from open_instruct.reformat.base import Example, Job, Rejected, turns

# (prompt, what stands before the answer, weight). Lead-ins that are sentences are in our own words.
WITH_INPUT = (
    ("{instruction}\n\n{input}\n\n", "", 0.2),
    ("{instruction}\n{input}\n\n", "", 0.1),
    ("{instruction}\n{input}\n", "", 0.1),
    ("{instruction}\n\nInput: {input}\n\nOutput:", "", 0.05),
    ("{instruction}\nInput: {input}\nOutput:", "", 0.05),
    ("{instruction}\n{input}\n\nResponse:", "", 0.05),
    ("{instruction}\n\nContext:\n{input}\n\nAnswer:", "", 0.05),
    ("Task: {instruction}\nInput: {input}\nOutput:", "", 0.05),
    ("Task: {instruction}\n\n{input}\n\n", "", 0.05),
    ("Task: {instruction}\n\n{input}\n\nAnswer:", "", 0.05),
    ("Please do this task:\n\n{instruction}\n\n{input}\n\nAnswer:", "", 0.05),
    ("{instruction}\n\nDo it for this case:\nInput: {input}\nOutput:", "", 0.05),
    ("Instruction: {instruction}\n\nInput: {input}\n\n", "", 0.05),
    # Stanford Alpaca's own prompt
    (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:",
        "",
        0.1,
    ),
)
WITHOUT_INPUT = (
    ("{instruction}\n\n", "", 0.2),
    ("{instruction}\n", "", 0.1),
    ("{instruction}", "\n", 0.1),
    ("{instruction} Output:", "", 0.05),
    ("{instruction}\nResponse:", "", 0.05),
    ("{instruction}\n\nAnswer:", "", 0.05),
    ("Task: {instruction}\n\n", "", 0.05),
    ("Instruction: {instruction}\n", "", 0.05),
    ("Instruction: {instruction}\nOutput:", "", 0.05),
    ("Please do this task:\n\n{instruction}\n\n", "", 0.05),
    ("I need help with this:\n\n{instruction}\n", "", 0.05),
    ("Here is a request: {instruction}\nAnswer:", "", 0.05),
    ("What would you answer to this?\n{instruction}\n", "", 0.05),
    # Stanford Alpaca's own prompt, from its second sentence on, as published
    (
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{instruction}\n\n### Response:",
        "",
        0.1,
    ),
)


def encoded(instruction: object, input: object, output: object, job: Job) -> Example | Rejected:
    """One instruction row with a template drawn by weight. A missing input (null) is none.

    Returns:
        The conversation, or why there is none: a field is no text, or the instruction or the answer is blank.
    """
    fields = {"instruction": instruction, "input": "" if input is None else input, "output": output}
    for name, value in fields.items():
        if not isinstance(value, str):
            return Rejected(f"field {name!r} is no text")
        if not value.strip() and name != "input":
            return Rejected(f"field {name!r} is blank")
        fields[name] = value.strip()
    templates = WITH_INPUT if fields["input"] else WITHOUT_INPUT
    prompt, before, _ = job.random.choices(templates, weights=[weight for _, _, weight in templates])[0]
    return Example(turns(prompt.format_map(fields), before + fields["output"]))


def few_shot(definition: str, shots: list[dict], input: str, output: str) -> Example | Rejected:
    """One instance of a task below its definition and worked examples ("Input:" and "Output:" on their own lines)."""
    if not output.strip():
        return Rejected("field 'output' is blank")
    blocks = [definition.strip()]
    blocks += [f"Input:\n{shot['input'].strip()}\nOutput:\n{shot['output'].strip()}" for shot in shots]
    blocks.append(f"Input:\n{input.strip()}\nOutput:\n")
    return Example(turns("\n\n".join(blocks), output.strip()))
