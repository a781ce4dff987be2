"""The manifests against themselves, and value by value against what the local stack renders."""

import re

import pytest
import yaml
from checkout import CHECKOUT
from kubernetes_manifests import FOLDER, KUSTOMIZATION, MANIFESTS, manifest, name_of, values

from streamproof.stack.settings import StackSettings

STACK = CHECKOUT / "streamproof" / "stack"
SERVICES = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
OWN_IMAGE = "streamproof:0.1.0"
SECRETS = {"store-password", "nifi-sensitive-key"}
"""What docs/kubernetes.md has the user make."""


def rendered(template, separator):
    """Return the lines of a configuration template that have no variable, as (key, value)."""
    lines = (STACK / "conf" / template).read_text().splitlines()
    plain = [line for line in lines if separator in line and not re.match(r"#|\{|.*\{\{", line)]
    return {tuple(part.strip() for part in line.split(separator, 1)) for line in plain}


def lines_of(text, separator):
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {tuple(part.strip() for part in line.split(separator, 1)) for line in lines}


def config(name):
    return {(key, str(value)) for key, value in manifest("ConfigMap", name)["data"].items()}


def containers():
    for each in MANIFESTS:
        for key, value in values(each):
            if key in {"containers", "initContainers"}:
                yield from value


def test_kustomization_names_each_file_but_the_run():
    named = yaml.safe_load((FOLDER / KUSTOMIZATION).read_text())["resources"]
    assert sorted([*named, KUSTOMIZATION, "run.yaml"]) == sorted(file.name for file in FOLDER.glob("*.yaml"))


def test_no_file_holds_a_secret():
    assert [name_of(each) for each in MANIFESTS if each["kind"] == "Secret"] == []
    text = "".join(file.read_text() for file in FOLDER.iterdir())
    assert "PRIVATE KEY" not in text
    assert set(re.findall(r"password\s*[:=]\s*([^\s,}]+)", text, re.IGNORECASE)) == {"$(STORE_PASSWORD)"}
    for each in containers():
        for variable in each.get("env", []):
            if re.search("PASSWORD|KEY$", variable["name"]):
                assert "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_each_secret_that_is_mounted_is_made_by_a_certificate_and_each_password_by_the_user():
    made = {each["spec"]["secretName"] for each in MANIFESTS if each["kind"] == "Certificate"}
    mounted, asked = set(), set()
    for each in MANIFESTS:
        for key, value in values(each):
            if key == "secretName":
                mounted.add(value)
            elif key in {"secretKeyRef", "passwordSecretRef"}:
                asked.add(value["name"])
    assert mounted == made
    assert asked == SECRETS
    documented = (CHECKOUT / "docs" / "kubernetes.md").read_text()
    assert all(f"generic {name} " in documented for name in SECRETS)


def test_certificates_hold_as_long_as_those_of_one_machine_and_name_their_services():
    services = {each["metadata"]["name"] for each in MANIFESTS if each["kind"] == "Service"}
    for each in MANIFESTS:
        if each["kind"] != "Certificate":
            continue
        spec = each["spec"]
        assert spec["duration"] == ("87600h" if spec.get("isCA") else "9528h")  # ten years, 397 days
        assert spec.get("isCA") or spec["renewBefore"] == "720h"
        assert spec["issuerRef"]["name"] in {"self-signed", "services", "edges"}
        if (name := each["metadata"]["name"]) in services:
            assert f"{name}.streamproof.svc" in spec["dnsNames"]
    issued_for_edges = [
        each["metadata"]["name"]
        for each in MANIFESTS
        if each["kind"] == "Certificate" and each["spec"]["issuerRef"]["name"] == "edges"
    ]
    assert issued_for_edges == ["books"]


def test_images_are_those_of_docker_compose_and_the_toolkits_own():
    wanted = {SERVICES[name]["image"] for name in ("mosquitto", "nifi")} | {OWN_IMAGE}
    assert {each["image"] for each in containers() if "image" in each} == wanted
    flink = manifest("FlinkDeployment", "flink")["spec"]
    assert flink["image"] == SERVICES["jobmanager"]["image"]
    assert flink["flinkVersion"] == "v" + "_".join(re.search(r":(\d+)\.(\d+)\.", flink["image"]).groups())
    kafka = manifest("Kafka", "streamproof")["spec"]["kafka"]["version"]
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka}"
    assert OWN_IMAGE in (FOLDER / "Dockerfile").read_text()
    assert f'version = "{OWN_IMAGE.split(":")[1]}"' in (CHECKOUT / "pyproject.toml").read_text()


def test_mosquitto_has_the_settings_of_the_stack():
    data = manifest("ConfigMap", "mosquitto")["data"]
    here, stack = lines_of(data["mosquitto.conf"], " "), rendered("mosquitto.conf", " ")
    assert stack - here <= {("allow_anonymous", "true")}
    # What secures it, and where its files are.
    own = {"listener", "cafile", "certfile", "keyfile", "tls_version", "require_certificate", "allow_anonymous"}
    own |= {"use_identity_as_username", "use_username_as_clientid", "acl_file", "persistence_location"}
    assert {key for key, _ in here - stack} - own == {"autosave_interval"}
    assert ("autosave_interval", str(StackSettings(_env_file=None).mosquitto_autosave)) in here
    assert ("allow_anonymous", "false") in here


def test_kafka_has_the_settings_of_the_stack_but_three_replicas_two_of_them_in_sync():
    spec = manifest("Kafka", "streamproof")["spec"]["kafka"]
    stack = dict(rendered("kafka.properties", "="))
    for key, value in spec["config"].items():
        if key.endswith(("replication.factor", ".isr", "insync.replicas")):
            assert value == ("3" if key.endswith("factor") else "2"), key
        else:
            assert stack.get(key, "false") == value, key
    by_strimzi = ("process.", "node.", "controller.", "inter.", "listener", "advertised.", "ssl.", "authorizer.")
    left_out = {key for key in stack if not key.startswith(by_strimzi)} - {"super.users", *spec["config"]}
    # One partition of Kafka's own topics makes one machine's start quick; a cluster keeps Kafka's defaults.
    quick = {"group.initial.rebalance.delay.ms", "initial.broker.registration.timeout.ms"}
    assert {key for key in left_out if not key.endswith("num.partitions")} <= quick
    assert {pool["spec"]["replicas"] for pool in MANIFESTS if pool["kind"] == "KafkaNodePool"} == {3}
    heap = f"{StackSettings(_env_file=None).kafka_heap}m"
    assert manifest("KafkaNodePool", "broker")["spec"]["jvmOptions"] == {"-Xms": heap, "-Xmx": heap}


def test_nifi_has_the_settings_of_the_stack():
    added = lines_of(manifest("ConfigMap", "nifi")["data"]["nifi.properties"], "=")
    stack = rendered("nifi.properties", "=")
    assert {key for key, _ in added - stack if not key.startswith("nifi.security.")} == set()
    (nifi,) = [each for each in containers() if each["name"] == "nifi"]
    variables = {each["name"]: each.get("value") for each in nifi["env"]}
    assert variables["NIFI_JVM_HEAP_MAX"] == f"{StackSettings(_env_file=None).nifi_heap}m"
    assert variables["NIFI_ELECTION_MAX_CANDIDATES"] == str(manifest("StatefulSet", "nifi")["spec"]["replicas"])
    assert variables["NIFI_CLUSTER_LEADER_ELECTION_IMPLEMENTATION"] == "KubernetesLeaderElectionManager"
    role = {rule["resources"][0]: rule["verbs"] for rule in manifest("Role", "nifi")["rules"]}
    assert {"create", "get", "update", "patch"} <= set(role["leases"])


def test_flink_has_the_settings_of_the_stack():
    here = manifest("FlinkDeployment", "flink")["spec"]["flinkConfiguration"]
    stack = dict(rendered("flink.yaml", ":"))
    settings = StackSettings(_env_file=None)
    expected = {
        "taskmanager.numberOfTaskSlots": f"{settings.flink_slots}",
        "slotmanager.number-of-slots.min": f"{2 * settings.flink_slots}",
        "taskmanager.memory.task.heap.size": f"{settings.flink_taskmanager_heap - 96}m",
        "taskmanager.memory.managed.size": f"{settings.flink_managed}m",
        "taskmanager.memory.network.min": f"{settings.flink_network}m",
        "taskmanager.memory.network.max": f"{settings.flink_network}m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "execution.checkpointing.dir": "file:///state/checkpoints",
        "execution.checkpointing.savepoint-dir": "file:///state/savepoints",
    }
    for key, value in here.items():
        if not key.startswith(("security.ssl.", "kubernetes.")):
            assert value == (expected.get(key) or stack[key].strip('"')), key


def test_the_toolkit_asks_where_the_servers_are():
    ports = {
        each["metadata"]["name"]: [port["port"] for port in each["spec"]["ports"]]
        for each in MANIFESTS
        if each["kind"] == "Service"
    }
    settings = manifest("ConfigMap", "streamproof")["data"]
    assert settings["STREAMPROOF_MQTT_HOST"] == "mosquitto.streamproof.svc"
    assert [int(settings["STREAMPROOF_MQTT_PORT"])] == ports["mosquitto"]
    (listener,) = manifest("Kafka", "streamproof")["spec"]["kafka"]["listeners"]
    assert settings["STREAMPROOF_KAFKA_SERVERS"] == f"streamproof-kafka-bootstrap.streamproof.svc:{listener['port']}"
    assert settings["NIFI_API_ENDPOINT"] == f"https://nifi.streamproof.svc:{ports['nifi'][0]}/nifi-api"
    documented = (CHECKOUT / "docs" / "settings.md").read_text()
    for name in settings:
        assert f"| `{name}` |" in documented, name


@pytest.mark.parametrize("port", [8883, 8443, 8081, 9093])
def test_each_door_opens_for_named_pods_only(port):
    if port == 9093:
        (listener,) = manifest("Kafka", "streamproof")["spec"]["kafka"]["listeners"]
        peers = listener["networkPolicyPeers"]
    else:
        rules = [
            rule
            for each in MANIFESTS
            if each["kind"] == "NetworkPolicy"
            for rule in each["spec"].get("ingress", [])
            if {"port": port} in rule.get("ports", [])
        ]
        peers = [peer for rule in rules for peer in rule["from"]]
    assert peers
    assert all(peer["podSelector"]["matchLabels"] for peer in peers)
    assert manifest("NetworkPolicy", "nobody")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
