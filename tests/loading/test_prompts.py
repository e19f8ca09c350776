"""Synthetic prompts: exact length, repeatable, and never served from an earlier probe's prefix cache."""

import json

import pytest

from rightsizer_jobs.loadgen.prompts import RING, ModelUnreadable, PromptBook, vocabulary_size
from rightsizer_jobs.loadgen.sequence import Replayed
from rightsizer_jobs.loadgen.traces import Row, Trace

BLOCK = 16
"""Tokens of the engine's first cache block."""


def book(**changes):
    values = {"served_model_name": "m", "input_tokens": 200, "output_tokens": 64, "vocabulary": 2048, "seed": 7}
    return PromptBook.draw(**(values | changes))


def prompt(body):
    return json.loads(body)["prompt"]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 200, RING - 1, RING + 5000])
def test_a_prompt_has_exactly_the_asked_length(length):
    made = book(input_tokens=length)
    for index in (0, 1, 4999):
        tokens = prompt(made.body(index, 12345))
        assert len(tokens) == length
        assert all(40 <= token < 2008 for token in tokens)


def test_a_body_asks_for_exact_output_usage_and_greedy_tokens():
    body = json.loads(book(served_model_name='na"me').body(3, 1))
    assert body["model"] == 'na"me'
    assert (body["max_tokens"], body["ignore_eos"], body["temperature"], body["stream"]) == (64, True, 0, True)
    assert body["stream_options"] == {"include_usage": True}


def test_one_seed_gives_the_same_bodies():
    assert book().body(5, 9) == book().body(5, 9)
    assert book().body(5, 9) != book(seed=8).body(5, 9)


def test_another_nonce_changes_the_first_cache_block_and_nothing_behind_it():
    one, other = prompt(book().body(5, 1)), prompt(book().body(5, 2))
    assert one[:BLOCK] != other[:BLOCK]
    assert one[BLOCK:] == other[BLOCK:]


def test_no_two_requests_of_a_probe_share_their_first_cache_block():
    made = book()
    blocks = {tuple(prompt(made.body(index, 4))[:BLOCK]) for index in range(3000)}
    assert len(blocks) == 3000


def test_large_vocabularies_leave_out_both_ends():
    tokens = prompt(book(vocabulary=128_256).body(1, 2**32 - 1))
    assert min(tokens) >= 2565 and max(tokens) < 125_691


def test_the_vocabulary_is_read_from_the_models_configuration(tmp_path):
    (tmp_path / "config.json").write_text('{"vocab_size": 2048}')
    assert vocabulary_size(str(tmp_path)) == 2048
    (tmp_path / "config.json").write_text('{"text_config": {"vocab_size": 151936}}')
    assert vocabulary_size(str(tmp_path)) == 151936


@pytest.mark.parametrize("content", ["{}", "not json", '{"vocab_size": "many"}', "[]", None])
def test_a_model_without_a_readable_vocabulary_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelUnreadable, match=r"model_path: .*config.json"):
        vocabulary_size(str(tmp_path))


# --- prompts of a trace's prefix blocks

SHARED = 512


def traced(*rows, seed=7):
    """A book over rows of (input tokens, blocks), from the first row on."""
    found = Replayed(Trace(tuple(Row(float(n), *row) for n, row in enumerate(rows)), float(len(rows)), "0" * 64), 0)
    return PromptBook.of(found, served_model_name="m", vocabulary=2048, seed=seed)


def test_requests_share_the_tokens_of_the_blocks_they_share_and_no_more():
    made = traced((1300, 4, (1, 2, 3)), (1100, 4, (1, 2, 9)), (1300, 4, (8, 2, 3)))
    one, two, three = (prompt(made.body(index, 5)) for index in range(3))
    assert (len(one), len(two), len(three)) == (1300, 1100, 1300)
    assert one[: 2 * SHARED] == two[: 2 * SHARED]
    assert one[2 * SHARED :][:BLOCK] != two[2 * SHARED :][:BLOCK]
    assert one[:BLOCK] != three[:BLOCK]


@pytest.mark.parametrize("length", [1, 3, 4, 5, 511, 512, 513, 514, 4096, 5000])
def test_a_prompt_of_blocks_has_exactly_the_asked_length(length):
    made = traced((length, 4, tuple(range(-(-length // SHARED)))))
    tokens = prompt(made.body(0, 2**32 - 1))
    assert len(tokens) == length and all(40 <= token < 2008 for token in tokens)


def test_another_probe_shares_no_cache_block_with_an_earlier_one_though_its_requests_share_theirs():
    made = traced((1300, 4, (1, 2, 3)), (1300, 4, (1, 2, 4)))
    probes = [[prompt(made.body(index, nonce)) for index in range(2)] for nonce in (11, 12)]
    assert probes[0][0][:BLOCK] == probes[0][1][:BLOCK]
    assert probes[1][0][:BLOCK] == probes[1][1][:BLOCK]
    assert probes[0][0][:BLOCK] != probes[1][0][:BLOCK]


def test_a_trace_that_begins_again_does_not_live_off_its_first_lap():
    made = traced((600, 4, (1, 2)))
    laps = [prompt(made.body(index, 5)) for index in range(3)]
    assert len({tuple(lap[:BLOCK]) for lap in laps}) == 3


def test_requests_of_a_trace_without_blocks_share_nothing():
    made = traced((600, 4), (600, 4))
    assert prompt(made.body(0, 5))[:BLOCK] != prompt(made.body(1, 5))[:BLOCK]


def test_each_body_asks_for_the_lengths_of_its_own_row():
    made = traced((30, 4), (50, 6))
    assert [json.loads(made.body(index, 5))["max_tokens"] for index in range(2)] == [4, 6]
    assert [made.asked_tokens(index) for index in range(3)] == [4, 6, 4]
