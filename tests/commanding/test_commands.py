"""status, explain, diff, approve, report: what is printed, what is written, which exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Rightsizer = Callable[..., Any]
HASH = "4f0c2a9b81d7"
HOSTILE = "\x1b[2J\x1b]0;owned\x07<script>\u202e\r\nrm"


def test_status_shows_candidates_verdicts_and_the_command_to_approve(rightsizer: Rightsizer) -> None:
    said = rightsizer("status", "support-chat")
    assert said.code == 0
    assert "drop 2.98 points, 95 % bounds 2.57 to 3.39, 1.5 allowed" in said.out
    assert "GPUs 4 -> 2" in said.out
    assert "kubectl rightsizer approve support-chat -n ml" in said.out


def test_status_says_what_is_left_of_the_budget(rightsizer: Rightsizer, cluster: Any) -> None:
    left = {"trials": 15, "gpuHours": "3.75", "money": "9.38", "deadline": "2026-03-01T18:00:00Z"}
    cluster.change("optimizationruns", lambda found: found["status"].update(remaining=left))
    said = rightsizer("status", "support-chat")
    assert "left       15 trials, 3.75 GPU hours, 9.38 USD, until 2026-03-01T18:00:00Z" in said.out


def test_status_of_all_lists_one_line_each(rightsizer: Rightsizer, cluster: Any) -> None:
    first = cluster.get("inferencedeployments")
    second = {**first, "metadata": {"name": "other", "namespace": "prod"}, "status": {}}
    cluster.put("inferencedeployments", [first, second])
    lines = rightsizer("status", "-A").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["NAMESPACE", "NAME"], ["ml", "support-chat"], ["prod", "other"]]


def test_status_as_json_and_yaml_hold_the_same(rightsizer: Rightsizer) -> None:
    documents = [
        json.loads(rightsizer("status", "-o", "json").out),
        yaml.safe_load(rightsizer("status", "-o", "yaml").out),
    ]
    assert documents[0] == documents[1]
    assert documents[0]["items"][0]["proposal_hash"] == HASH


def test_status_before_the_operator_has_looked_says_where_to_look(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.change("inferencedeployments", lambda found: found.pop("status"))
    assert "kubectl rightsizer doctor" in rightsizer("status", "support-chat").out


def test_status_survives_a_run_that_was_deleted(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.put("optimizationruns", [])
    said = rightsizer("status", "support-chat")
    assert (said.code, "GPUs 4 -> 2" in said.out) == (0, True)


def test_stalled_is_shown_with_its_reason(rightsizer: Rightsizer, cluster: Any) -> None:
    def stall(found: Any) -> None:
        found["status"]["conditions"] = [
            {"type": "Stalled", "status": "True", "reason": "ClaimNotFound", "message": "no claim"}
        ]

    cluster.change("inferencedeployments", stall)
    assert "ClaimNotFound: no claim" in rightsizer("status", "support-chat").out


@pytest.mark.parametrize(
    "command", [("status",), ("status", "support-chat"), ("explain", "support-chat"), ("report", "support-chat")]
)
def test_hostile_strings_never_reach_the_terminal(
    rightsizer: Rightsizer, cluster: Any, command: tuple[str, ...]
) -> None:
    def poison(found: Any) -> None:
        found["status"]["activity"] = HOSTILE
        for entry in found["status"].get("candidates", []):
            entry["verdict"] = HOSTILE
        for candidate in found["spec"].get("candidates", []):
            candidate["precision"] = HOSTILE

    cluster.change("inferencedeployments", poison)
    cluster.change("optimizationruns", poison)
    said = rightsizer(*command)
    assert said.code == 0
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(said.out)
    assert "\\x1b[2J" in said.out


def test_hostile_names_are_escaped_in_errors_too(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.put("fail", {"get": [1, f"error: {HOSTILE}"]})
    assert "\x1b" not in rightsizer("status").err


def test_explain_says_why_and_why_not(rightsizer: Rightsizer) -> None:
    out = rightsizer("explain", "support-chat").out
    assert "Why int8 (INT8 weights and activations)" in out
    assert "14042 questions, 420 lost and 266 won" in out
    assert "TensorRT-LLM does not load INT8 compressed-tensors weights" in out
    assert "Why not fewer accelerators" in out
    assert "To repeat the certificate, 1.936 requests/s" in out and "\n  aiperf profile -m " in out


def test_explain_tells_the_notes(rightsizer: Rightsizer, cluster: Any) -> None:
    def several(run: Any) -> None:
        record = run["status"]["trials"][-1]
        record["report"] = json.dumps({**json.loads(record["report"]), "tokens_per_chunk": 3})

    cluster.change("optimizationruns", several)
    assert "\nnote: Tokens a chunk: " in rightsizer("explain", "support-chat").out


def test_diff_shows_the_closed_list_and_no_secret(rightsizer: Rightsizer) -> None:
    lines = rightsizer("diff", "support-chat").out.splitlines()
    assert {"-replicas: 4", "+replicas: 2", "-- /models/llama-3.1-70b", "+- /rightsizer/model"} <= set(lines)
    assert "-weights: as found" in lines
    assert not any("HF_TOKEN" in line for line in lines)


def test_diff_leaves_replicas_to_the_autoscaler_that_owns_them(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.change(
        "optimizationruns", lambda run: run["spec"]["baseline"].update(replicasManagedBy="HorizontalPodAutoscaler/chat")
    )
    said = rightsizer("diff", "support-chat")
    assert "replicas" not in said.out
    assert "HorizontalPodAutoscaler/chat" in said.err


def test_diff_without_a_proposal_is_refused(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.change("optimizationruns", lambda run: run["status"].pop("proposal"))
    assert rightsizer("diff", "support-chat").code == 4


def test_approve_patches_one_field_under_its_own_manager(rightsizer: Rightsizer, cluster: Any) -> None:
    assert rightsizer("approve", "support-chat", "--hash", HASH).code == 0
    (patch,) = [call["words"] for call in cluster.calls() if "patch" in call["words"]]
    assert "--field-manager=rightsizer-cli" in patch
    assert json.loads(patch[patch.index("-p") + 1]) == {"spec": {"updatePolicy": {"approvedProposal": HASH}}}


def test_approve_tells_how_the_size_follows_from_demand_headroom_and_spare_replicas(
    rightsizer: Rightsizer, cluster: Any
) -> None:
    words = "2 replicas carry 9 requests/s (7.5 and 20 % headroom) at 4.5 each, 1 more spare"
    cluster.change("inferencedeployments", lambda found: found["status"]["proposal"].update(sizing=words))
    assert words in rightsizer("status", "support-chat").out
    assert words in rightsizer("approve", "support-chat").out


def test_status_shows_a_demand_that_is_read(rightsizer: Rightsizer, cluster: Any) -> None:
    def asking(found: Any) -> None:
        static = found["spec"]["workload"].pop("static")
        found["spec"]["workload"]["prometheus"] = {key: static[key] for key in ("inputTokens", "outputTokens")}

    cluster.change("inferencedeployments", asking)
    assert "peak from Prometheus, not read yet" in rightsizer("status", "support-chat").out
    read = {"requestRate": "3.6", "source": "peak of 168 h, read from Prometheus 2026-03-01T12:00:00Z"}
    cluster.change("inferencedeployments", lambda found: found["status"].update(demand=read))
    assert "3.6 requests/s, peak of 168 h, read from Prometheus" in rightsizer("status", "support-chat").out


def test_approving_twice_writes_once(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.change("inferencedeployments", lambda found: found["spec"]["updatePolicy"].update(approvedProposal=HASH))
    said = rightsizer("approve", "support-chat")
    assert (said.code, "already" in said.out) == (0, True)
    assert not [call for call in cluster.calls() if "patch" in call["words"]]


@pytest.mark.parametrize(
    ("change", "options", "remedy"),
    [
        (lambda found: found["status"].pop("proposal"), (), "kubectl rightsizer status support-chat"),
        (lambda found: None, ("--hash", "000000000000"), "kubectl rightsizer diff support-chat"),
        (lambda found: found["spec"]["updatePolicy"].update(mode="Off"), (), "updatePolicy.mode to Manual"),
        (lambda found: found["spec"]["updatePolicy"].update(mode="Auto"), (), "Nothing has to be done"),
    ],
    ids=["no proposal", "another hash", "mode Off", "mode Auto"],
)
def test_approve_refuses_what_the_operator_would_ignore(
    rightsizer: Rightsizer, cluster: Any, change: Any, options: tuple[str, ...], remedy: str
) -> None:
    cluster.change("inferencedeployments", change)
    said = rightsizer("approve", "support-chat", *options)
    assert said.code == 4
    assert remedy in said.err
    assert not [call for call in cluster.calls() if "patch" in call["words"]]


def test_approve_warns_where_gitops_owns_the_policy(rightsizer: Rightsizer, cluster: Any) -> None:
    owned = [{"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:updatePolicy": {"f:mode": {}}}}}]
    cluster.change("inferencedeployments", lambda found: found["metadata"].update(managedFields=owned))
    assert "argocd-controller" in rightsizer("approve", "support-chat").err


def test_a_name_that_does_not_exist_is_exit_code_3(rightsizer: Rightsizer) -> None:
    for command in ("status", "explain", "approve", "report", "diff"):
        said = rightsizer(command, "nobody")
        assert said.code == 3, command
        assert "remedy:" in said.err


@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        ('error: the server doesn\'t have a resource type "inferencedeployments"', 4),
        ('Error from server (Forbidden): infdep is forbidden: User "u" cannot get', 6),
        ("Unable to connect to the server: dial tcp: lookup nowhere: no such host", 5),
        ("error: You must be logged in to the server (Unauthorized)", 5),
        ('error: context "x" does not exist', 5),
        ("error: stat nowhere: no such file or directory", 5),
        ('E1124 07:28:49.7 1 memcache.go:265] "Unhandled"\nThe connection to the server localhost:8080 was refused', 5),
        ("something nobody has seen", 5),
    ],
)
def test_each_way_kubectl_fails_has_its_code_and_no_traceback(
    rightsizer: Rightsizer, cluster: Any, stderr: str, code: int
) -> None:
    cluster.put("fail", {"get": [1, stderr]})
    said = rightsizer("status", "support-chat")
    assert said.code == code
    assert said.err.startswith("error: ")
    assert "error: error" not in said.err
    assert "Traceback" not in said.err
    assert "memcache" not in said.err


def test_without_a_kubeconfig_the_remedy_says_so(rightsizer: Rightsizer, cluster: Any) -> None:
    said_by_kubectl = (
        "The connection to the server localhost:8080 was refused - did you specify the right host or port?"
    )
    cluster.put("fail", {"get": [1, said_by_kubectl]})
    assert "kubectl found no kubeconfig: name one" in rightsizer("status").err


def test_without_kubectl_the_remedy_names_it(rightsizer: Rightsizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHTSIZER_KUBECTL", "no-such-program")
    said = rightsizer("status")
    assert said.code == 5
    assert "Install kubectl" in said.err


def test_a_bug_is_one_sentence_and_exit_code_1(rightsizer: Rightsizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("rightsizer_cli.commands.status.read", broken)
    said = rightsizer("status")
    assert (said.code, said.err.count("\n")) == (1, 2)
    assert "ZeroDivisionError: oh" in said.err


def test_wrong_usage_is_exit_code_2(rightsizer: Rightsizer) -> None:
    with pytest.raises(SystemExit) as ended:
        rightsizer("approve")
    assert ended.value.code == 2
    assert rightsizer("status", "--watch", "-o", "json").code == 2


@pytest.mark.parametrize("name", ["infdep/support-chat", "../support-chat", "Support", "a b", "", "x" * 254])
def test_what_cannot_be_a_name_is_said_before_the_cluster_is_asked(
    rightsizer: Rightsizer, cluster: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for words in (["status", name], ["approve", name], ["report", "x", "--run", name], ["status", "-n", name]):
        with pytest.raises(SystemExit) as ended:
            rightsizer(*words)
        assert ended.value.code == 2
        assert "is no name of an object" in capsys.readouterr().err
    assert cluster.calls() == []


def test_objects_of_another_version_are_refused_with_the_field(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.change("optimizationruns", lambda run: run["spec"]["baseline"].pop("port"))
    said = rightsizer("report", "support-chat")
    assert said.code == 4
    assert "baseline.port" in said.err


def test_connection_options_reach_every_call(rightsizer: Rightsizer, cluster: Any) -> None:
    # The stand-in knows no connection options, so a list of them in front of the verb fails: the words are what counts.
    rightsizer("status", "--context", "prod", "--kubeconfig", "k", "-n", "ml")
    words = cluster.calls()[0]["words"]
    assert {"--context=prod", "--kubeconfig=k"} <= set(words)
    assert words[words.index("--namespace") + 1] == "ml"


def test_report_is_written_to_a_file(rightsizer: Rightsizer, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert rightsizer("report", "support-chat", "-o", "json", "--file", str(path)).code == 0
    assert json.loads(path.read_text())["schemaVersion"] == "rightsizer.dev/result/v1"
    assert rightsizer("report", "support-chat", "--file", str(tmp_path / "no" / "such")).code == 2


def test_report_without_a_run_is_refused(rightsizer: Rightsizer, cluster: Any) -> None:
    cluster.change("inferencedeployments", lambda found: found["status"].pop("runRef"))
    said = rightsizer("report", "support-chat")
    assert said.code == 4
    assert "kubectl rightsizer status support-chat" in said.err


def test_an_older_run_can_be_named(rightsizer: Rightsizer, cluster: Any) -> None:
    older = cluster.get("optimizationruns")
    older["metadata"]["name"], older["status"]["phase"] = "support-chat-0000-1", "Superseded"
    cluster.put("optimizationruns", [cluster.get("optimizationruns"), older])
    document = json.loads(rightsizer("report", "support-chat", "--run", "support-chat-0000-1", "-o", "json").out)
    assert document["subject"]["run"] == "support-chat-0000-1"
    assert document["decision"]["state"] == "Superseded"
    assert rightsizer("explain", "support-chat", "--run", "no-such-run").code == 3


HEAVY = {"pydantic", "yaml", "kubernetes", "kopf", "rightsizer_operator", "rightsizer_jobs"}


@pytest.mark.parametrize("arguments", [["--help"], ["status", "support-chat"], ["approve", "support-chat"]])
def test_nothing_heavy_is_imported_to_start(cluster: Any, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom rightsizer_cli.__main__ import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "print('MODULES', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & HEAVY


def test_the_report_needs_neither_kopf_nor_a_kubernetes_client(cluster: Any) -> None:
    code = (
        "import sys\nfrom rightsizer_cli.__main__ import main\nmain(['report', 'support-chat', '-o', 'html'])\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"kopf", "kubernetes", "aiohttp"} & set(done.stdout.splitlines()[-1].split())


def test_watch_redraws_until_interrupted_and_says_only_changes_off_a_terminal(
    rightsizer: Rightsizer, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(["one", "one", "two"])

    def wait(_: float) -> None:
        found = next(looks, None)
        if found is None:
            raise KeyboardInterrupt
        cluster.change("inferencedeployments", lambda infdep: infdep["status"].update(activity=found))

    monkeypatch.setattr("rightsizer_cli.commands.status.sleep", wait)
    said = rightsizer("status", "support-chat", "--watch")
    assert said.code == 0
    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("activity")] == ["int8", "one", "two"]


def test_watch_goes_on_while_the_cluster_does_not_answer(
    rightsizer: Rightsizer, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(
        [lambda: cluster.put("fail", {"get": [1, "Unable to connect to the server"]}), lambda: cluster.put("fail", {})]
    )

    def wait(_: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr("rightsizer_cli.commands.status.sleep", wait)
    said = rightsizer("status", "support-chat", "--watch")
    assert said.code == 0
    assert "Unable to connect" in said.out
    assert said.out.count("support-chat  namespace ml") == 2
