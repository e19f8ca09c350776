"""A trial over chat: gauged prompts, a role that is no token, and the same outcomes as over plain completions."""

from rightsizer_jobs.trial.run import run

CHAT = {"input_tokens": 120, "output_tokens": 4, "api": "Chat"}


async def test_a_trial_over_chat_sends_prompts_of_the_wanted_length(start_engine, assign):
    engine = await start_engine(tokens_per_word=2, template_tokens=17)
    report = await run(assign(engine.base_url, workload=CHAT, rate_to_beat_rps=1000.0))
    assert report.outcome == "CannotBeat", report.reason
    assert engine.prompts == []  # nothing went to /v1/completions
    assert {abs(tokens - 120) <= 1 for tokens in engine.chats[4:]} == {True}
    assert report.idle_ms is not None and report.idle_ms["ttft"] >= 40  # prefill, not the role


async def test_inputs_shorter_than_the_chat_template_are_void_and_say_so(start_engine, assign):
    engine = await start_engine(template_tokens=500)
    report = await run(assign(engine.base_url, workload=CHAT))
    assert (report.outcome, report.reason) == (
        "Void", "workload: the chat template takes 500 tokens: inputs of 120 tokens cannot be made"
    )  # fmt: skip


async def test_a_chat_that_never_answers_is_hung(start_engine, assign):
    engine = await start_engine(hang=True)
    report = await run(assign(engine.base_url, workload=CHAT, deadlines={"first_token_s": 0.3}))
    assert report.outcome == "EngineHung"
