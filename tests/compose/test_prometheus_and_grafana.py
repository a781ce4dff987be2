"""Prometheus asks what is there, and each query of the dashboard finds metrics that the real servers have."""

import json
import re
import threading
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain

import httpx
import pytest
import yaml
from checkout import CHECKOUT
from free_ports import free_ports
from prometheus_client.parser import text_string_to_metric_families
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from waiting import PATIENCE

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay
from flink_jobs.cluster import Cluster
from flink_jobs.submission import JobOptions, submit
from nifi_templates.deployment import deploy
from streamproof.core.contract import load_contract
from streamproof.core.question import load_question
from streamproof.core.window import Window
from streamproof.stack.servers import Stack

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
SCRAPED = {
    job["job_name"]: job for job in yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])["scrape_configs"]
}
PANELS = json.loads((CHECKOUT / "grafana" / "streamproof.json").read_text())["panels"]
TARGETS = [
    pytest.param(target["expr"], target["legendFormat"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
FLINK_PORT = 9249


def targets(job):
    return SCRAPED[job]["static_configs"][0]["targets"]


def test_the_plain_chain_starts_without_them():
    assert {name for name, service in SERVICES.items() if service.get("profiles")} == {
        "prometheus",
        "grafana",
        "postgres",
    }
    assert {tuple(SERVICES[name]["profiles"]) for name in ("prometheus", "grafana", "postgres")} == {("metrics",)}


def test_prometheus_asks_every_flink_process_where_it_serves():
    flink = {name for name, service in SERVICES.items() if service.get("command") in ("jobmanager", "taskmanager")}
    assert set(targets("flink")) == {f"{name}:{FLINK_PORT}" for name in flink}
    for name in flink:
        properties = yaml.safe_load(SERVICES[name]["environment"]["FLINK_PROPERTIES"])
        assert properties["metrics.reporter.prom.port"] == FLINK_PORT
        assert not any(str(FLINK_PORT) in port for port in SERVICES[name].get("ports", ()))


def test_prometheus_asks_the_replayer_on_the_host_at_the_documented_port():
    (replayer,) = targets("replayer")
    host, port = replayer.split(":")
    assert f"{host}:host-gateway" in SERVICES["prometheus"]["extra_hosts"]
    assert re.search(rf"replay .*--metrics \S*:{port}", (CHECKOUT / "docs" / "metrics.md").read_text())


def test_grafana_shows_without_a_password_and_lets_nobody_change_anything():
    environment = SERVICES["grafana"]["environment"]
    assert (environment["GF_AUTH_ANONYMOUS_ENABLED"], environment["GF_AUTH_ANONYMOUS_ORG_ROLE"]) == ("true", "Viewer")
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_grafana_gets_its_files_where_it_looks_for_them():
    mounted = {}
    for volume in SERVICES["grafana"]["volumes"]:
        source, target, mode = volume.split(":")
        assert mode == "ro"
        mounted[target] = CHECKOUT / source
    in_folder = {target.rpartition("/")[0]: file for target, file in mounted.items() if "shop" not in target}
    source, postgres = yaml.safe_load(in_folder["/etc/grafana/provisioning/datasources"].read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    assert postgres["url"] == "postgres:5432"
    (provider,) = yaml.safe_load(in_folder["/etc/grafana/provisioning/dashboards"].read_text())["providers"]
    assert json.loads(in_folder[provider["options"]["path"]].read_text())["panels"] == PANELS
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in mounted


def test_no_two_panels_overlap():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


@pytest.fixture(scope="module")
def samples(servers, tmp_path_factory):
    """The labels of each sample, by its name: of NiFi with its flow, of a replay, and of a Flink with its job.

    The Flink is one of its own: with metrics it listens beyond loopback, which the shared one must not.
    """
    contract = load_contract("ratings")
    deploy(contract)
    folder, port = tmp_path_factory.mktemp("metrics"), free_ports(6, in_a_row=True)[0]
    (folder / "rows.csv").write_text("".join(f"u{n},B{n % 7},{n % 5 + 1}.0,{n}\n" for n in range(100)))
    files, address = {"Books": folder / "rows.csv"}, ("127.0.0.1", port + 5)
    options = ReplayOptions(contract=contract, files=files, interval=Fraction(10), loop=True, metrics=address)
    pages = [f"http://127.0.0.1:{served}/metrics" for served in (port + 2, port + 3, port + 5)]
    pages.append(servers.nifi.api_endpoint.removesuffix("/nifi-api") + SCRAPED["nifi"]["metrics_path"])

    @retry(
        retry=retry_if_exception_type((AssertionError, httpx.TransportError)),
        stop=stop_after_delay(PATIENCE),
        wait=wait_fixed(1),
        reraise=True,
    )
    def all_samples():
        found = dict(chain.from_iterable(map(scrape, pages)))
        missing = {name for target in TARGETS for name in names(target.values[0])} - set(found)
        assert not missing
        return found

    with pytest.MonkeyPatch.context() as environment, ExitStack() as cleanup:
        environment.setenv("STREAMPROOF_HOME", str(folder / "home"))
        environment.setenv("STREAMPROOF_FLINK_JOBMANAGER", f"127.0.0.1:{port}")
        environment.setenv("STREAMPROOF_STACK_FLINK_RPC_PORT", str(port + 1))
        environment.setenv("STREAMPROOF_STACK_FLINK_METRICS_PORT", str(port + 2))
        own = Stack.from_environment()
        cleanup.callback(own.down)
        own.up(parts=("jobmanager", "taskmanager-1"))
        job = submit([load_question("rating_averages").with_window(Window(10_000, 5_000))], JobOptions()).job
        # Killed with its Flink it would leave a transaction open, behind which other tests' windows are hidden.
        cleanup.callback(Cluster().cancel, job)
        stop = threading.Event()
        replaying = threading.Thread(target=replay, args=(options,), kwargs={"stop": stop})
        replaying.start()
        cleanup.callback(replaying.join, 60)
        cleanup.callback(stop.set)
        yield all_samples()


def scrape(page):
    """Yield the name of each metric of a page, and the labels of each of its samples."""
    text = httpx.get(page, timeout=30).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    for name in {sample.name for sample in samples}:
        yield name, [sample.labels for sample in samples if sample.name == name]


def names(expression):
    return re.findall(r"\b(?:flink|nifi|streamproof)_\w+", expression)


@pytest.mark.long
@pytest.mark.parametrize(("expression", "legend"), TARGETS)
def test_each_query_names_metrics_and_labels_that_there_are(samples, expression, legend):
    assert names(expression)
    selected = {label: value for label, _, value in re.findall(r'(\w+)(=~?)"([^"]*)"', expression)}
    for name in names(expression):
        assert any(
            all(re.fullmatch(value, labels.get(label, "")) for label, value in selected.items())
            and set(re.findall(r"{{(\w+)}}", legend)) <= set(labels)
            for labels in samples[name]
        ), samples[name]
