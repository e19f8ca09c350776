import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer_operator.manifests import engine_command
from rightsizer_operator.manifests.engine_command import EngineCommand, Flag, Refused, parse, render
from rightsizer_operator.manifests.engine_flags import DIALECTS

FORMS = {
    "vllm serve with the model first": ({"command": ["vllm", "serve"], "args": ["/m", "--port", "9000"]}, "VLLM", "/m"),
    "vllm serve with everything in the command": ({"command": ["vllm", "serve", "/m", "--port=9000"]}, "VLLM", "/m"),
    "vllm serve with everything in args": ({"args": ["vllm", "serve", "/m", "--port=9000"]}, "VLLM", "/m"),
    "vllm serve cut between command and args": (
        {"command": ["vllm"], "args": ["serve", "/m", "--port=9000"]},
        "VLLM",
        "/m",
    ),
    "vllm serve with the model behind a flag": ({"command": ["vllm", "serve", "--port", "9000", "/m"]}, "VLLM", "/m"),
    "vllm serve with --model": ({"command": ["vllm", "serve"], "args": ["--model=/m", "--port=9000"]}, "VLLM", "/m"),
    "vllm by its path": ({"command": ["/opt/engine/bin/vllm", "serve"], "args": ["/m", "--port=9000"]}, "VLLM", "/m"),
    "vllm by its interpreter": (
        {"command": ["/opt/engine/bin/python3", "/opt/engine/bin/vllm", "serve"], "args": ["/m", "--port=9000"]},
        "VLLM",
        "/m",
    ),
    "the API server module": (
        {
            "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            "args": ["--model", "/m", "--port", "9000"],
        },
        "VLLM",
        "/m",
    ),
    "the API server module, unbuffered": (
        {"command": ["python", "-u", "-m", "vllm.entrypoints.openai.api_server", "--model", "/m", "--port=9000"]},
        "VLLM",
        "/m",
    ),
    "the image's entrypoint with args only": (
        {"image": "registry:5000/vllm/vllm-openai:v0.33.0@sha256:00", "args": ["--model", "/m", "--port=9000"]},
        "VLLM",
        "/m",
    ),
    "behind an init process": ({"command": ["tini", "--", "vllm", "serve", "/m", "--port=9000"]}, "VLLM", "/m"),
    "trtllm-serve": ({"command": ["trtllm-serve"], "args": ["/m", "--port", "9000"]}, "TensorRTLLM", "/m"),
    "trtllm-serve serve": ({"command": ["trtllm-serve", "serve", "/m", "--port", "9000"]}, "TensorRTLLM", "/m"),
    "trtllm-serve in the args of its image": (
        {"image": "nvidia/tensorrt-llm/release:1.2.1", "args": ["trtllm-serve", "/m", "--port=9000"]},
        "TensorRTLLM",
        "/m",
    ),
    "the module of trtllm-serve": (
        {"command": ["python3", "-m", "tensorrt_llm.commands.serve", "/m", "--port=9000"]},
        "TensorRTLLM",
        "/m",
    ),
}


@pytest.mark.parametrize("form", FORMS, ids=list(FORMS))
def test_engine_model_and_port_are_read_from(form):
    container, engine, model = FORMS[form]
    command = parse({"name": "engine", "image": "any", **container})
    assert (command.engine, command.model, command.port) == (engine, model, "9000")


@pytest.mark.parametrize("form", FORMS, ids=list(FORMS))
def test_the_same_words_in_the_same_roles_come_back_from(form):
    container, _, _ = FORMS[form]
    words, args = render(parse({"name": "engine", "image": "any", **container}))
    written = [*container.get("command", []), *container.get("args", [])]
    assert sorted([*words, *args]) == sorted(written)
    # Without a command the image's entrypoint runs, and must go on to do so.
    assert bool(words) == bool(container.get("command"))


REFUSALS = {
    "a shell": ({"command": ["sh", "-c", "vllm serve /m"]}, "ShellWrapped", "command:"),
    "a login shell by its path": (
        {"command": ["/bin/bash", "-lc"], "args": ["vllm serve /m"]},
        "ShellWrapped",
        "lists",
    ),
    "a shell behind an init process": (
        {"command": ["tini", "--", "bash", "-c", "vllm serve /m"]},
        "ShellWrapped",
        "lists",
    ),
    "a script run by a shell": ({"command": ["bash", "/start.sh"]}, "ShellWrapped", "lists"),
    "a shell in args": ({"image": "vllm/vllm-openai", "args": ["sh", "-c", "vllm serve /m"]}, "ShellWrapped", "lists"),
    "another program": ({"command": ["nginx", "-g", "daemon off;"]}, "NotAnEngine", "spec.targetRef.container"),
    "another command of vllm": ({"command": ["vllm", "bench", "serve"]}, "NotAnEngine", "vllm serve"),
    "another module": ({"command": ["python3", "-m", "http.server"]}, "NotAnEngine", "spec.targetRef.container"),
    "a disaggregated server": ({"command": ["trtllm-serve", "disaggregated"]}, "NotAnEngine", "trtllm-serve"),
    "an engine without a model": ({"command": ["vllm", "serve"], "args": ["--port", "8000"]}, "NotAnEngine", "model"),
    "nothing but an unknown image": ({"image": "shop/web:1"}, "UnknownEngineImage", "state the engine"),
    "an unknown image with args": (
        {"image": "shop/web:1", "args": ["--model", "x"]},
        "UnknownEngineImage",
        "state the engine",
    ),
    "an image that starts no server": (
        {"image": "nvidia/tensorrt-llm/release", "args": ["/m"]},
        "NotAnEngine",
        "trtllm-serve",
    ),
    "an abbreviated flag": (
        {"command": ["vllm", "serve", "/m", "--tensor-parallel", "2"]},
        "UnsupportedEngineFlag",
        "full name",
    ),
    "a word that belongs to nothing": ({"command": ["vllm", "serve", "/m", "stray"]}, "UnsupportedEngineFlag", "stray"),
}


@pytest.mark.parametrize("what", REFUSALS, ids=list(REFUSALS))
def test_refused_with_a_remedy_is(what):
    container, reason, remedy = REFUSALS[what]
    with pytest.raises(Refused) as refused:
        parse({"name": "engine", "image": "any", **container})
    assert refused.value.reason == reason
    assert remedy in refused.value.message
    assert "'engine'" in refused.value.message


def test_a_registry_named_after_an_engine_does_not_make_an_image_one():
    assert engine_command.image_engine("vllm.example.com/shop/web:1") is None
    assert engine_command.image_engine("mirror/vllm-cpu-release-repo:v0.32.0") == "VLLM"
    assert engine_command.image_engine("nvidia/tensorrt_llm:1") == "TensorRTLLM"


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["-tp", "4"], "--tensor-parallel-size", "4"),
        (["-tp=4"], "--tensor-parallel-size", "4"),
        (["--tensor_parallel_size", "4"], "--tensor-parallel-size", "4"),
        (["--tensor_parallel_size=4"], "--tensor-parallel-size", "4"),
        (["-q", "fp8"], "--quantization", "fp8"),
        (["--device-memory-utilization", "0.5"], "--gpu-memory-utilization", "0.5"),
        (["--max-num-seqs", "8", "--max-num-seqs", "16"], "--max-num-seqs", "16"),
        (["--seed", "-1"], "--seed", "-1"),
        (["--hf-overrides", '{"a_b": 1}'], "--hf-overrides", '{"a_b": 1}'),
        (["--served-model-name", "a", "b"], "--served-model-name", "a"),
    ],
)
def test_vllm_flags_are_read_in_every_spelling(words, name, value):
    assert parse({"name": "e", "command": ["vllm", "serve", "/m", *words]}).value(name) == value


def test_a_switch_before_the_model_does_not_swallow_it():
    command = parse(
        {"name": "e", "command": ["vllm", "serve", "--enforce-eager", "--no-enable-prefix-caching", "-O3", "/m"]}
    )
    assert command.model == "/m"
    assert [flag.values for flag in command.flags] == [(), (), ()]


def test_tensorrt_llm_aliases_are_read_as_their_long_names():
    command = parse(
        {"name": "e", "command": ["trtllm-serve", "/m", "--tp_size", "4", "--extra_llm_api_options", "/c.yaml"]}
    )
    assert (command.value("--tensor-parallel-size"), command.value("--config")) == ("4", "/c.yaml")


@pytest.mark.parametrize(
    ("words", "served"),
    [
        (["vllm", "serve", "a/b"], "a/b"),
        (["vllm", "serve", "/models/b"], "/models/b"),
        (["vllm", "serve", "/models/b", "--served-model-name", "chat", "other"], "chat"),
        (["trtllm-serve", "a/b"], "a/b"),
        (["trtllm-serve", "/models/b/"], "b"),
        (["trtllm-serve", "/models/b", "--served_model_name", "chat"], "chat"),
    ],
)
def test_the_served_name_is_the_engines_own_default_where_no_flag_says_it(words, served):
    assert parse({"name": "e", "command": words}).served_model_name == served


def test_a_flag_is_set_where_it_stood_and_as_it_was_spelled():
    command = parse(
        {"name": "e", "command": ["vllm", "serve", "/m", "-tp", "4", "--seed=1", "--tensor-parallel-size=2"]}
    )
    assert render(command.with_flag("--tensor-parallel-size", "8"))[1] == ("/m", "-tp", "8", "--seed=1")
    assert render(command.with_flag("--max-num-seqs", "8"))[1][-2:] == ("--max-num-seqs", "8")


def test_a_new_flag_is_spelled_as_its_engine_spells():
    command = parse({"name": "e", "command": ["trtllm-serve", "/m"]}).with_flag("--max-batch-size", "8")
    assert render(command)[1] == ("/m", "--max_batch_size", "8")


VALUES = st.from_regex(r"[A-Za-z0-9/{\"$(][A-Za-z0-9_./:{}\"$()= -]{0,20}", fullmatch=True)
NAMES = st.sampled_from(
    [
        "--max-model-len",
        "--dtype",
        "--seed",
        "--tensor-parallel-size",
        "--served-model-name",
        "--chat-template",
        "--unheard-of",
    ]
)
SWITCHES = st.sampled_from(
    ["--enforce-eager", "--enable-prefix-caching", "--no-enable-chunked-prefill", "--trust-remote-code"]
)


def _flag(name, value, joined, underscored):
    spelled = "--" + name[2:].replace("-", "_") if underscored else name
    return Flag(name=name, values=(value,), spelled=spelled, joined=joined)


FLAGS = st.builds(_flag, NAMES, VALUES, st.booleans(), st.booleans()) | st.builds(
    lambda name: Flag(name=name, spelled=name), SWITCHES
)
SHAPES = st.sampled_from(
    [(("vllm", "serve"), ()), (("vllm",), ("serve",)), ((), ("vllm", "serve")), (("tini", "--", "vllm", "serve"), ())]
)
COMMANDS = st.builds(
    lambda shape, model, flags: EngineCommand(
        engine="VLLM", command=shape[0], program=shape[1], positional=model, flags=tuple(flags)
    ),
    SHAPES,
    VALUES,
    st.lists(FLAGS, max_size=6),
)


@given(COMMANDS)
def test_what_is_rendered_is_parsed_back_to_the_same_value(command):
    words, args = render(command)
    assert parse({"name": "e", "image": "any", "command": list(words), "args": list(args)}) == command


@given(st.lists(FLAGS, max_size=6), st.booleans(), st.sampled_from(["VLLM", "TensorRTLLM"]))
def test_every_flag_of_the_user_survives_reading_and_writing(flags, in_command, engine):
    start = ["vllm", "serve"] if engine == "VLLM" else ["trtllm-serve"]
    words = [word for flag in flags for word in flag.words()]
    container = {"command": [*start, "/m", *words]} if in_command else {"command": start, "args": ["/m", *words]}
    command, args = render(parse({"name": "e", **container}))
    assert [*command, *args] == [*start, "/m", *words]


@given(st.text(max_size=40))
def test_canonical_names_are_stable(text):
    for dialect in DIALECTS.values():
        once = dialect.canonical(f"--{text}")
        assert dialect.canonical(once) == once
