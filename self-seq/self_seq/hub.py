"""Uploads a finished set to the Hugging Face hub: the rows, the card and the report, in one commit.

Called by `generate.py` and `report/__main__.py` where `--push_to_hub OWNER/NAME` asks for it. The token comes from
HF_TOKEN or from the login of the hub's own command, and is never printed. run.json stays at home: it names the
machine and its folders; statistics.json goes without them.
"""

import os
import re
from pathlib import Path

from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json
from self_seq.outputs import STATISTICS
from self_seq.report.facts import public_statistics

FILES = ("README.md", "sit.jsonl", "it.jsonl", "rejected.jsonl", "report.html")  # those that are there

_TOKEN = re.compile(r"\bhf_\w+")


def check(repository: str) -> None:
    """Refuse, before anything long begins, what cannot be uploaded to.

    Raises:
        UserError: the name is no OWNER/NAME, there is no token, or the hub is switched off.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"--push_to_hub {repository}: is no name of a dataset: {_first_line(error)}") from None
    if repository.count("/") != 1:
        raise UserError(
            f"--push_to_hub {repository}: expected OWNER/NAME, with your name on the hub or an organisation's"
        )
    if constants.is_offline_mode():
        raise UserError(f"--push_to_hub {repository}: the hub is switched off (HF_HUB_OFFLINE). Unset that variable.")
    if not get_token():
        raise UserError(
            f"--push_to_hub {repository}: no token. Put one that may write into HF_TOKEN, or run `hf auth login`."
        )


def push(folder: Path, repository: str, private: bool) -> str:
    """Upload the set in `folder` as the dataset `repository`, which is made if it is missing.

    Args:
        folder: a finished run, with its report.
        repository: OWNER/NAME.
        private: make it visible to its owner alone. A dataset that is there already keeps its visibility; one that
            everybody sees is refused.

    Returns:
        Where it can be seen.

    Raises:
        UserError: as `check`; or the hub cannot be reached, refuses the token or the right to write, or fails.
    """
    check(repository)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    if missing := [name for name in ("README.md", "sit.jsonl") if not (folder / name).is_file()]:
        raise UserError(f"{folder}: {' and '.join(missing)} missing: nothing to upload. Let the generation end first.")
    operations = [CommitOperationAdd(name, str(folder / name)) for name in FILES if (folder / name).is_file()]
    if (folder / STATISTICS).is_file():
        statistics = encode_json(public_statistics(folder), indent=2) + b"\n"
        operations.append(CommitOperationAdd(STATISTICS, statistics))
    api = HfApi()
    try:
        url = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        there = api.repo_info(repository, repo_type="dataset")
        if private and not there.private:
            raise UserError(
                f"--push_to_hub {repository}: that dataset is there and everybody can see it. Name another one, "
                "make it private on the hub, or say --hub_public True."
            )
        sent = {operation.path_in_repo for operation in operations}
        stale = {file.rfilename for file in there.siblings or []} & {*FILES, STATISTICS} - sent  # of an earlier run
        operations += [CommitOperationDelete(name, is_folder=False) for name in sorted(stale)]
        api.create_commit(repository, operations, commit_message="Sequential instructions", repo_type="dataset")
    except HfHubHTTPError as error:
        raise _refused(repository, error) from None
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(
            f"--push_to_hub {repository}: the hub cannot be reached ({_first_line(error)}). Everything is written to "
            f"{folder}; upload it later: python -m self_seq.report --output_dir {folder} --push_to_hub {repository}"
        ) from None
    return str(url)


def _refused(repository: str, error: Exception) -> UserError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    advice = {
        401: "the hub does not know the token. Make a new one with the right to write and put it into HF_TOKEN.",
        403: "the token may not write there. Give it that right, or name an owner that you may write for.",
        404: "no such owner, or the token may not see it. Check the name and the token.",
        429: "the hub asks to wait. Try again later.",
    }.get(status, "Try again later; everything is written on this machine.")
    return UserError(f"--push_to_hub {repository}: refused with status {status} ({_first_line(error)}): {advice}")


def _first_line(error: Exception) -> str:
    """What the error says first, without a token that a server or a proxy may have put into it."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    token = os.environ.get("HF_TOKEN", "")
    text = text.replace(token, "(hidden)") if token else text
    return _TOKEN.sub("(hidden)", text).rstrip(".")[:300]
