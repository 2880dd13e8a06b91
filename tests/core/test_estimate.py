"""open_instruct/core/estimate.py: tokens and costs before anything is asked."""

from pathlib import Path

import pytest

from open_instruct.core.asking import Spent
from open_instruct.core.errors import UserError
from open_instruct.core.estimate import answer_tokens, dry_run_table, how_counted, token_counter
from open_instruct.core.progress import Prices

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"


def test_four_characters_begun_are_a_token_where_there_is_no_tokenizer():
    assert [token_counter("")(text) for text in ("", "x", "four", "fives")] == [0, 1, 1, 2]
    assert how_counted("") == "at 4 characters each"


def test_a_tokenizer_counts_without_special_tokens(tmp_path):
    count = token_counter(str(BASE))
    assert count("") == 0 and 0 < count("apple") < count("apple pear") and how_counted("here") == "with here"
    with pytest.raises(UserError, match=str(tmp_path)):
        token_counter(str(tmp_path))


def test_an_answer_is_as_long_as_the_longest_example_or_else_as_long_as_it_may_be():
    examples = [{"role": "user", "content": "x" * 99}, *({"role": "assistant", "content": "x" * n} for n in (4, 11))]
    assert answer_tokens(examples, most=50) == 3
    assert answer_tokens(examples[:1], most=50) == 50


def test_the_table_names_the_cost_where_there_are_prices():
    spent = Spent(1200, 2_000_000, 30_000)
    lines = dry_run_table("3 rows", "votes", spent, Prices(2, 10)).splitlines()
    assert lines[0] == "dry run: nothing is asked. 3 rows"
    assert [line.split() for line in lines[2:6]] == [
        ["requests", "1,200"],
        ["tokens", "in", "2,000,000"],
        ["tokens", "out", "30,000"],
        ["cost", "4.30"],
    ]
    assert not any(line.startswith("cost") for line in dry_run_table("3 rows", "votes", spent, Prices()).splitlines())
