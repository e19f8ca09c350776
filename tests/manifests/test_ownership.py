import pytest
import yaml

from rightsizer_operator.manifests import ownership
from tests.manifests.examples import a_target, container_fields, managed_by

IMAGE_AND_ARGS = container_fields("image", "args")
REPLICAS = {"f:spec": {"f:replicas": {}}}
US = "rightsizer.dev/rightsizer"


def a_managed_target(*entries, annotations=None):
    target = a_target()
    target["metadata"]["managedFields"] = list(entries)
    target["metadata"]["annotations"] = annotations or {}
    return target


def check(target, *, replicas=True, take_ownership=False):
    return ownership.check(target, "engine", replicas=replicas, take_ownership=take_ownership)


def test_fields_that_nobody_else_owns_are_written_without_force():
    for target in (a_target(), a_managed_target(managed_by(US, IMAGE_AND_ARGS, "Apply"))):
        found = check(target)
        assert (found.allowed, found.force, found.owners, found.message) == (True, False, (), "")


@pytest.mark.parametrize(
    "manager", ["kubectl-client-side-apply", "kubectl", "kubectl-edit", "helm", "terraform", "before-first-apply"]
)
def test_people_and_ci_need_take_ownership_and_the_message_says_where(manager):
    target = a_managed_target(managed_by(manager, IMAGE_AND_ARGS))
    refused = check(target)
    assert (refused.allowed, refused.force, refused.owners) == (False, False, (manager,))
    assert f"{manager} owns image, args" in refused.message
    snippet = yaml.safe_load(refused.message[refused.message.index("spec:") :])
    assert snippet == {"spec": {"targetRef": {"takeOwnership": True}}}
    allowed = check(target, take_ownership=True)
    assert (allowed.allowed, allowed.force, allowed.owners, allowed.message) == (True, True, (manager,), "")


@pytest.mark.parametrize(
    "manager",
    [
        "argocd-controller",
        "argocd-application-controller",
        "kustomize-controller",
        "helm-controller",
        "fleet",
        "fleetagent",
    ],
)
def test_gitops_managers_need_the_targets_own_word_as_well(manager):
    target = a_managed_target(managed_by(manager, IMAGE_AND_ARGS, "Apply"))
    assert not check(target).allowed
    refused = check(target, take_ownership=True)
    assert (refused.allowed, refused.force) == (False, False)
    assert "rightsizer.dev/released-fields: image,args" in refused.message
    target["metadata"]["annotations"] = {"rightsizer.dev/released-fields": "image, args"}
    allowed = check(target, take_ownership=True)
    assert (allowed.allowed, allowed.force) == (True, True)
    assert not check(target, take_ownership=False).allowed


def test_every_field_that_a_gitops_manager_owns_must_be_released():
    target = a_managed_target(
        managed_by("kustomize-controller", {**container_fields("image", "args")}, "Apply"),
        managed_by("kustomize-controller", REPLICAS, "Apply"),
        annotations={"rightsizer.dev/released-fields": "args"},
    )
    assert "rightsizer.dev/released-fields: image,args,replicas" in check(target, take_ownership=True).message
    without = check(target, replicas=False, take_ownership=True)
    assert "rightsizer.dev/released-fields: image,args\n" in without.message


def test_released_fields_of_people_are_not_asked_for():
    target = a_managed_target(managed_by("kubectl", IMAGE_AND_ARGS), annotations={})
    assert check(target, take_ownership=True).allowed


def test_argo_users_get_the_ignore_rule_to_paste():
    target = a_managed_target(managed_by("argocd-controller", IMAGE_AND_ARGS))
    message = check(target, take_ownership=True).message
    rule = yaml.safe_load(message[message.index("spec:") :])
    assert rule["spec"]["ignoreDifferences"][0]["managedFieldsManagers"] == [US]
    assert rule["spec"]["syncPolicy"]["syncOptions"] == ["RespectIgnoreDifferences=true"]


def test_flux_users_get_the_paths_of_their_container_to_paste():
    target = a_managed_target(
        managed_by("kustomize-controller", container_fields("image", "args", "resources"), "Apply")
    )
    target["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy"})
    message = check(target, take_ownership=True).message
    rule = yaml.safe_load(message[message.index("spec:") :])
    place = "/spec/template/spec/containers/1"
    assert rule["spec"]["ignore"][0]["paths"] == [f"{place}/image", f"{place}/args", f"{place}/resources"]


def test_every_message_fits_a_condition():
    everything = container_fields("image", "args", "command")
    entries = [managed_by(name, everything) for name in (*sorted(ownership.GITOPS), "kubectl", "helm")]
    assert len(check(a_managed_target(*entries)).message) <= 2048


def test_replicas_are_looked_at_only_where_they_will_be_written():
    target = a_managed_target(managed_by("kubectl", REPLICAS, subresource="scale"))
    assert check(target).owners == ("kubectl",)
    assert check(target, replicas=False).owners == ()


def test_fields_outside_the_closed_list_do_not_matter():
    elsewhere = {"f:spec": {"f:strategy": {}, "f:template": {"f:spec": {"f:nodeSelector": {}}}}}
    env = container_fields()
    key = next(iter(env["f:spec"]["f:template"]["f:spec"]["f:containers"]))
    env["f:spec"]["f:template"]["f:spec"]["f:containers"][key]["f:env"] = {'k:{"name":"OMP_NUM_THREADS"}': {}}
    other = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"proxy"}': {"f:image": {}}}}}}}
    status = managed_by("kube-controller-manager", {"f:status": {}, **IMAGE_AND_ARGS}, subresource="status")
    entries = [managed_by("kubectl", fields) for fields in (elsewhere, env, other)]
    assert check(a_managed_target(*entries, status)).owners == ()


def test_the_bare_name_of_a_variable_is_not_its_value():
    fields = container_fields()
    container = next(iter(fields["f:spec"]["f:template"]["f:spec"]["f:containers"].values()))
    container["f:env"] = {'k:{"name":"VLLM_PLUGINS"}': {".": {}, "f:name": {}}}
    assert check(a_managed_target(managed_by("kubectl", fields))).owners == ()


def test_variables_resources_and_our_volumes_belong_to_the_closed_list():
    fields = container_fields()
    pod = fields["f:spec"]["f:template"]["f:spec"]
    container = next(iter(pod["f:containers"].values()))
    container["f:env"] = {'k:{"name":"VLLM_PLUGINS"}': {".": {}, "f:value": {}}}
    container["f:resources"] = {"f:limits": {"f:memory": {}}}
    pod["f:volumes"] = {'k:{"name":"rightsizer-models"}': {}}
    assert "kubectl owns env, resources, volumes" in check(a_managed_target(managed_by("kubectl", fields))).message


def test_a_field_set_that_ends_above_a_field_owns_all_below():
    assert check(a_managed_target(managed_by("kubectl", {"f:spec": {"f:template": {}}}))).owners == ("kubectl",)


def test_an_entry_without_fields_owns_nothing():
    assert check(a_managed_target({"manager": "kubectl", "operation": "Update"}, managed_by("helm", {}))).owners == ()


def test_whether_we_hold_the_replica_count_is_read_from_our_own_applied_fields():
    assert ownership.owns_replicas(a_managed_target(managed_by(US, REPLICAS, "Apply")))
    assert not ownership.owns_replicas(a_managed_target(managed_by("kubectl", REPLICAS, "Apply")))
    assert not ownership.owns_replicas(a_managed_target(managed_by(US, IMAGE_AND_ARGS, "Apply")))
