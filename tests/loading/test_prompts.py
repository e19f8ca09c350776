"""Synthetic prompts: exact length, repeatable, and never served from an earlier probe's prefix cache."""

import json

import pytest

from rightsizer_jobs.loadgen.prompts import RING, ModelUnreadable, PromptBook, vocabulary_size

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
