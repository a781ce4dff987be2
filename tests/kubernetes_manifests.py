"""The Kubernetes manifests as they stand in the checkout."""

import yaml
from checkout import CHECKOUT

FOLDER = CHECKOUT / "kubernetes"
KUSTOMIZATION = "kustomization.yaml"
MANIFESTS = [
    manifest
    for file in sorted(FOLDER.glob("*.yaml"))
    if file.name != KUSTOMIZATION
    for manifest in yaml.safe_load_all(file.read_text())
]


def manifest(kind, name):
    (found,) = [each for each in MANIFESTS if (each["kind"], name_of(each)) == (kind, name)]
    return found


def name_of(each):
    return each["metadata"].get("name") or each["metadata"]["generateName"]


def values(node):
    """Yield each key with its value, however deep."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield key, value
        yield from values(value)
