"""Chat requests: text of the wanted length in the engine's own tokens, repeatable, never another probe's prefix."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_jobs.loadgen.chat import LONG, SHORT, WORDS, ChatBook, Gauge, TemplateTooLong, gauge
from rightsizer_jobs.loadgen.sequence import Ask, sequence
from rightsizer_jobs.workload import Workload


def book(input_tokens=300, output_tokens=16, seed=1):
    requests = sequence(Workload(input_tokens=input_tokens, output_tokens=output_tokens), seed)
    return ChatBook.of(requests, served_model_name="m", seed=seed)


def words(body):
    return json.loads(body)["messages"][0]["content"].split(" ")


@given(
    per_word=st.floats(1.0, 4.0),
    added=st.integers(0, 200),
    wanted=st.integers(250, 20_000),
    index=st.integers(0, 10**6),
)
def test_after_two_requests_prompts_have_the_wanted_length_but_for_rounding(per_word, added, wanted, index):
    def counted(number):
        return added + round(per_word * number)

    found = gauge(counted(SHORT), counted(LONG))
    prompt = words(book(wanted).gauged(found).body(index, 7))
    # Each of the two counts was rounded: over the length of the prompt that is at most its share of their distance.
    assert abs(counted(len(prompt)) - wanted) <= per_word + 1 + 2 * wanted / (LONG - SHORT) / per_word


def test_a_word_that_costs_one_token_gives_exact_lengths():
    assert len(words(book(300).gauged(Gauge(1.0, 12.0)).body(5, 9))) == 288


def test_the_gauging_requests_have_their_numbers_of_words_and_ask_for_one_token():
    for number in (SHORT, LONG):
        body = book().gauging(number, 9)
        assert len(words(body)) == number and json.loads(body)["max_tokens"] == 1


def test_lengths_below_the_template_are_refused_with_its_size():
    with pytest.raises(TemplateTooLong, match="takes 40 tokens: inputs of 30 tokens cannot be made"):
        book(30).gauged(Gauge(1.0, 40.0))


def test_an_engine_that_counts_backwards_cannot_be_gauged():
    with pytest.raises(ValueError, match="counted 300 tokens in 64 words"):
        gauge(300, 300)


def test_bodies_repeat_by_seed_and_ask_for_exact_output():
    first, again, other = book().body(3, 7), book().body(3, 7), book(seed=2).body(3, 7)
    assert first == again != other
    asked = json.loads(first)
    assert (asked["max_tokens"], asked["ignore_eos"], asked["stream_options"]) == (16, True, {"include_usage": True})


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_two_probes_and_no_two_requests_begin_alike(nonce, other, index, another):
    prompts = book()
    if nonce != other:
        assert words(prompts.body(index, nonce))[:5] != words(prompts.body(index, other))[:5]
    if index != another:
        assert words(prompts.body(index, nonce))[:8] != words(prompts.body(another, nonce))[:8]


def test_requests_that_shared_prefix_blocks_share_words_within_a_probe_only():
    class Two:
        longest_input, mean_output_tokens = 1536, 4.0

        def ask(self, index):
            return Ask(1536, 4, blocks=(11, 12, 13 + index))

        def gaps(self):
            return iter(())

    prompts = ChatBook.of(Two(), served_model_name="m", seed=1)
    first, second, elsewhere = (words(prompts.body(index, nonce)) for index, nonce in ((0, 7), (1, 7), (0, 8)))
    assert len(first) == 1536
    assert first[:1024] == second[:1024] and first[1024:] != second[1024:]
    assert first[:5] != elsewhere[:5]


def test_the_words_are_distinct_and_plain():
    assert len(set(WORDS)) == len(WORDS) == 128 and all(word.isalpha() and word.islower() for word in WORDS)
