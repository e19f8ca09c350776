"""What the chart renders: rights exactly as listed, restricted pods, a configuration that loads, and no unknown value.

Applying it to a real API server is in ``test_chart_on_cluster.py``.
"""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from rightsizer_operator import settings
from rightsizer_operator.cluster import rights
from rightsizer_operator.cluster.port import SCALED_OBJECTS

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "rightsizer"
NAMESPACED = ("--set", "watchNamespaces={ml,prod}")
FULL = ("-f", str(Path(__file__).with_name("full-values.yaml")))
Object = dict[str, Any]

Granted = dict[tuple[str, str], set[str]]


def needed(table: tuple[rights.Right, ...]) -> Granted:
    """What the operator says it needs, but for what only an option grants."""
    found: Granted = {}
    for right in table:
        if right.kind is not SCALED_OBJECTS:
            resource = "/".join(part for part in (right.kind.plural, right.subresource) if part)
            found[right.kind.group, resource] = set(right.verbs)
    return found


RULES, NODES = needed(rights.RIGHTS), needed(rights.CLUSTER_RIGHTS)


def rendered(helm: Path, *options: str) -> list[Object]:
    done = subprocess.run(
        [helm, "template", "rightsizer", CHART, "-n", "rightsizer-system", "--kube-version", "1.36.3", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [found for found in objects if found["kind"] in kinds]


def one(objects: list[Object], kind: str) -> Object:
    (found,) = of_kind(objects, kind)
    return found


def granted(role: Object) -> Granted:
    found: Granted = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def operator_roles(objects: list[Object], kind: str) -> list[Object]:
    bound = {b["roleRef"]["name"] for b in of_kind(objects, f"{kind}Binding")}
    return [role for role in of_kind(objects, kind) if role["metadata"]["name"] in bound]


@pytest.mark.parametrize("options", [(), NAMESPACED, FULL], ids=["default", "namespaced", "full"])
def test_lint_finds_nothing(helm: Path, options: tuple[str, ...]) -> None:
    command = [helm, "lint", "--strict", CHART, "--kube-version", "1.36.3", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_cluster_install_grants_what_the_operator_asks_for_and_nothing_else(helm: Path) -> None:
    objects = rendered(helm)
    (role,) = operator_roles(objects, "ClusterRole")
    assert granted(role) == RULES | NODES


def test_keda_adds_one_right(helm: Path) -> None:
    (role,) = operator_roles(rendered(helm, "--set", "rbac.keda=true"), "ClusterRole")
    assert granted(role) == RULES | NODES | {("keda.sh", "scaledobjects"): {"list"}}


def test_the_lease_is_the_only_right_in_the_operators_own_namespace(helm: Path) -> None:
    objects = rendered(helm)
    (role,) = operator_roles(objects, "Role")
    config = yaml.safe_load(one(objects, "ConfigMap")["data"]["config.yaml"])
    named, unnamed = role["rules"]
    assert role["metadata"]["namespace"] == "rightsizer-system"
    assert named["resources"] == unnamed["resources"] == ["leases"]
    assert named["resourceNames"] == [config["leaseName"]]
    (lease,) = needed(rights.LEASE_RIGHTS).values()
    assert unnamed["verbs"] == ["create"]
    assert set(named["verbs"]) == lease - {"create"}


def test_namespaced_install_has_no_cluster_right_to_a_namespaced_thing(helm: Path) -> None:
    objects = rendered(helm, *NAMESPACED)
    assert [granted(role) for role in of_kind(objects, "ClusterRole")] == [NODES]
    roles = [role for role in operator_roles(objects, "Role") if role["metadata"]["namespace"] != "rightsizer-system"]
    assert {role["metadata"]["namespace"] for role in roles} == {"ml", "prod"}
    assert all(granted(role) == RULES for role in roles)


def test_namespaced_install_without_cluster_rights_has_no_cluster_role(helm: Path) -> None:
    objects = rendered(helm, *NAMESPACED, "--set", "rbac.clusterScoped=false")
    assert of_kind(objects, "ClusterRole", "ClusterRoleBinding") == []


@pytest.mark.parametrize("options", [(), NAMESPACED, FULL], ids=["default", "namespaced", "full"])
def test_no_wildcard_no_secret_no_exec_no_logs_in_any_role(helm: Path, options: tuple[str, ...]) -> None:
    roles = of_kind(rendered(helm, *options), "Role", "ClusterRole")
    assert roles
    for role in roles:
        for (group, resource), verbs in granted(role).items():
            assert "*" not in {group, resource, *verbs}
            assert resource not in {"secrets", "pods/exec", "pods/log", "serviceaccounts/token", "configmaps"}
            assert not verbs & {"escalate", "bind", "impersonate", "deletecollection"}


def test_every_binding_names_the_operators_account_only(helm: Path) -> None:
    objects = rendered(helm)
    account = one(objects, "ServiceAccount")["metadata"]
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
        ]


def test_people_read_by_the_view_role_and_write_intent_only_by_the_edit_role(helm: Path) -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(rendered(helm), "ClusterRole")}
    view, edit = roles["rightsizer-view"], roles["rightsizer-edit"]
    assert all(verbs == {"get", "list", "watch"} for verbs in granted(view).values())
    assert granted(edit) == {("rightsizer.dev", "inferencedeployments"): {"create", "update", "patch", "delete"}}
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]


def test_the_pod_is_restricted(helm: Path) -> None:
    pod = one(rendered(helm), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all({"configMap", "emptyDir", "projected"} & set(volume) for volume in pod["volumes"])


def test_the_operator_can_load_the_configuration_that_is_rendered(helm: Path) -> None:
    text = one(rendered(helm, *FULL), "ConfigMap")["data"]["config.yaml"]
    loaded = settings.parsed(yaml.safe_load(text))
    assert loaded.prices == {"NVIDIA-H100-80GB-HBM3": "2.50"}
    assert (loaded.trial.node_selector, loaded.trial.priority_class_name) == ({"pool": "gpu"}, "trials")
    assert loaded.trial.image == "registry.test/trial@sha256:" + "a" * 64
    assert loaded.compress.volumes == ({"name": "scratch", "emptyDir": {}},)
    assert loaded.engine_images == {"VLLM": "registry.test/vllm@sha256:" + "b" * 64}
    assert (loaded.read_only, loaded.runs_kept, loaded.namespaces) == (True, 9, ("ml",))


def test_defaults_load_too_and_keep_the_operators_own_commands(helm: Path) -> None:
    loaded = settings.parsed(yaml.safe_load(one(rendered(helm), "ConfigMap")["data"]["config.yaml"]))
    assert loaded.trial.command == ("python3", "-m", "rightsizer_jobs")
    assert loaded.namespaces == ()


def test_the_schema_knows_every_setting_of_the_operator_and_the_readme_describes_it() -> None:
    known = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    own = {
        "trial", "compress", "prices", "gpus", "engineImages", "prometheus", "readOnly", "namespaces", "leaseNamespace",
    }  # fmt: skip
    fields = {to_camel(field.name) for field in dataclasses.fields(settings.Settings)}
    assert set(known) == fields - own
    profile = json.loads((CHART / "values.schema.json").read_text())["$defs"]["profile"]["properties"]
    assert set(profile) == {to_camel(f.name) for f in dataclasses.fields(settings.JobProfile)} - {"imagePullPolicy"}
    readme = (CHART / "README.md").read_text()
    assert all(f"| `{key}` |" in readme for key in known)


def test_without_prometheus_nothing_of_it_is_rendered(helm: Path) -> None:
    objects = rendered(helm)
    assert settings.parsed(yaml.safe_load(one(objects, "ConfigMap")["data"]["config.yaml"])).prometheus is None
    assert "prometheus" not in json.dumps([*of_kind(objects, "Deployment"), *of_kind(objects, "NetworkPolicy")]).lower()


def test_prometheus_is_reached_with_its_token_its_authority_and_one_way_out(helm: Path) -> None:
    objects = rendered(helm, *FULL)
    found = settings.parsed(yaml.safe_load(one(objects, "ConfigMap")["data"]["config.yaml"])).prometheus
    assert found is not None
    assert (found.url, found.pod_label, found.every_s) == (
        "https://prometheus.monitoring:9091/prom", "exported_pod", 300,
    )  # fmt: skip
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "prometheus"]
    assert {Path(found.bearer_token_file).parent, Path(found.ca_file).parent} == {Path(mount["mountPath"])}
    (volume,) = [one for one in pod["volumes"] if one["name"] == "prometheus"]
    secret, authority = volume["projected"]["sources"]
    assert secret["secret"]["items"] == [{"key": "token", "path": Path(found.bearer_token_file).name}]
    assert authority["configMap"]["items"] == [{"key": "bundle.pem", "path": Path(found.ca_file).name}]
    policy = next(p for p in of_kind(objects, "NetworkPolicy") if p["metadata"]["name"] == "rightsizer")
    assert policy["spec"]["egress"][-1] == {
        "to": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "ports": [{"port": 9091, "protocol": "TCP"}],
    }


def test_prometheus_anywhere_in_the_cluster_is_the_default_way_out(helm: Path) -> None:
    objects = rendered(helm, "--set", "prometheus.url=http://prometheus.monitoring:9090")
    policy = next(p for p in of_kind(objects, "NetworkPolicy") if p["metadata"]["name"] == "rightsizer")
    assert policy["spec"]["egress"][-1] == {
        "to": [{"namespaceSelector": {}}], "ports": [{"port": 9090, "protocol": "TCP"}],
    }  # fmt: skip


def test_a_change_of_the_configuration_rolls_the_pods(helm: Path) -> None:
    def checksum(*options: str) -> str:
        annotations = one(rendered(helm, *options), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/config"])

    assert checksum() == checksum()
    assert checksum() != checksum("--set", "readOnly=true")


def test_rendering_twice_gives_the_same(helm: Path) -> None:
    assert rendered(helm, *FULL) == rendered(helm, *FULL)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("imagee.repository=x", "imagee"),
        ("image.repo=x", "repo"),
        ("jobs.trial.nodeSelektor.a=b", "nodeSelektor"),
        ("prices.x=cheap", "prices"),
        ("settings.runKept=3", "runKept"),
        ("image.digest=latest", "digest"),
        ("watchNamespaces={Not_A_Name}", "watchNamespaces"),
        ("engineImages.SGLang=x", "SGLang"),
        ("replicas=99", "replicas"),
        ("prometheus.url=http://u:p@prometheus:9090", "prometheus"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Path, option: str, named: str) -> None:
    command = [helm, "template", CHART, "--kube-version", "1.36.3", "--set", option]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert named in done.stderr


def test_a_digest_wins_over_a_tag(helm: Path) -> None:
    digest = "sha256:" + "c" * 64
    objects = rendered(helm, "--set", f"image.digest={digest},image.tag=v9")
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"rightsizer/operator@{digest}"


def test_crds_are_those_of_the_repository_and_stay_on_uninstall(helm: Path) -> None:
    crds = {crd["metadata"]["name"]: crd for crd in of_kind(rendered(helm), "CustomResourceDefinition")}
    originals = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
    assert set(crds) == {crd["metadata"]["name"] for crd in originals}
    for original in originals:
        found = crds[original["metadata"]["name"]]
        assert found["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert found == original


def test_crds_can_be_left_to_somebody_else(helm: Path) -> None:
    assert of_kind(rendered(helm, "--set", "crds.enabled=false"), "CustomResourceDefinition") == []


def test_jobs_reach_dns_and_their_own_namespace_only(helm: Path) -> None:
    policies = of_kind(rendered(helm, *NAMESPACED), "NetworkPolicy")
    jobs = [policy for policy in policies if policy["metadata"]["name"] == "rightsizer-jobs"]
    assert {policy["metadata"]["namespace"] for policy in jobs} == {"ml", "prod"}
    for policy in jobs:
        dns, pods = policy["spec"]["egress"]
        assert {port["port"] for port in dns["ports"]} == {53}
        assert pods == {"to": [{"podSelector": {}}]}
        assert policy["spec"]["ingress"] == []
        assert "ipBlock" not in str(policy)


def test_one_replica_has_no_disruption_budget(helm: Path) -> None:
    assert of_kind(rendered(helm, "--set", "replicas=1"), "PodDisruptionBudget") == []
    assert one(rendered(helm), "PodDisruptionBudget")["spec"]["minAvailable"] == 1


def test_every_value_is_described_or_in_the_readme() -> None:
    readme = (CHART / "README.md").read_text()
    for key in yaml.safe_load((CHART / "values.yaml").read_text()):
        assert f"`{key}" in readme, f"README.md of the chart does not mention {key}"
