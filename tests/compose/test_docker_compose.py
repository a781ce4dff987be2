import tomllib

import pytest
import yaml
from checkout import CHECKOUT

from streamproof.core.settings import FlinkSettings, KafkaSettings, MqttSettings, NifiSettings, PostgresSettings

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
PARTS = ("mosquitto", "kafka", "nifi", "jobmanager", "taskmanager-1", "taskmanager-2")
WATCHERS = ("prometheus", "grafana", "postgres")


def locked(package):
    lines = (CHECKOUT / "requirements.lock").read_text().splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith(f"{package}=="))


def test_it_has_the_parts_of_the_stack():
    assert set(PARTS) <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_each_image_is_pinned_to_a_full_version(name):
    repository, tag = SERVICES[name]["image"].split(":")
    assert repository in (
        "flink",
        "eclipse-mosquitto",
        "apache/kafka",
        "apache/nifi",
        "prom/prometheus",
        "grafana/grafana",
        "postgres",
    )
    assert len(tag.split("-")[0].split(".")) == (2 if repository == "postgres" else 3)


@pytest.mark.parametrize("name", [*PARTS, *WATCHERS])
def test_each_part_has_a_health_check_and_comes_back(name):
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_parts_start_when_those_they_need_are_healthy():
    conditions = {
        name: {
            needed: how["condition"] for needed, how in SERVICES[name].get("depends_on", {}).items() if needed in PARTS
        }
        for name in PARTS
    }
    healthy = "service_healthy"
    assert conditions == {
        "mosquitto": {},
        "kafka": {},
        "nifi": {"mosquitto": healthy, "kafka": healthy},
        "jobmanager": {"kafka": healthy},
        "taskmanager-1": {"jobmanager": healthy},
        "taskmanager-2": {"jobmanager": healthy},
    }


def test_ports_are_on_loopback_and_those_of_the_commands(monkeypatch):
    for name in (
        "STREAMPROOF_MQTT_PORT",
        "STREAMPROOF_KAFKA_SERVERS",
        "NIFI_API_ENDPOINT",
        "STREAMPROOF_FLINK_JOBMANAGER",
        "STREAMPROOF_POSTGRES_PORT",
    ):
        monkeypatch.delenv(name, raising=False)
    published = {
        name: service["ports"][0].rpartition(":")[0] for name, service in SERVICES.items() if "ports" in service
    }
    assert published == {
        "mosquitto": f"127.0.0.1:{MqttSettings(_env_file=None).port}",
        "kafka": KafkaSettings(_env_file=None).servers,
        "nifi": NifiSettings(_env_file=None).api_endpoint.removeprefix("http://").removesuffix("/nifi-api"),
        "jobmanager": FlinkSettings(_env_file=None).jobmanager,
        "prometheus": "127.0.0.1:29090",
        "grafana": "127.0.0.1:23000",
        "postgres": f"127.0.0.1:{PostgresSettings(_env_file=None).port}",
    }


def test_versions_are_those_of_the_stack():
    assert SERVICES["jobmanager"]["image"].startswith(f"flink:{locked('apache-flink')}-")
    artifacts = (CHECKOUT / "streamproof" / "stack" / "artifacts.lock").read_text()
    kafka = SERVICES["kafka"]["image"].split(":")[1]
    assert f"org.apache.kafka:kafka_2.13:{kafka}" in artifacts.replace(" ", ":")


def test_nifi_gets_the_projects_own_processors():
    source, target, mode = SERVICES["nifi"]["volumes"][0].split(":")
    assert list((CHECKOUT / source).glob("*.py"))
    assert "/python_extensions/" in target
    assert mode == "ro"


def test_kafka_waits_for_topics_to_be_made_and_has_a_listener_for_containers():
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    documented = (CHECKOUT / "docs" / "docker.md").read_text()
    assert "STREAMPROOF_KAFKA_CLUSTER_SERVERS=kafka:9092" in documented
    assert "INTERNAL://kafka:9092" in environment["KAFKA_ADVERTISED_LISTENERS"]


def test_mosquitto_loses_nothing_by_its_configuration():
    settings = dict(line.split(maxsplit=1) for line in COMPOSE["configs"]["mosquitto"]["content"].splitlines())
    assert settings["persistence"] == "true"
    assert settings["max_queued_messages"] == "0"


def test_the_version_of_the_project_is_written_once():
    assert (
        tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
        in (CHECKOUT / "CHANGELOG.md").read_text()
    )
