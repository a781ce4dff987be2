"""The NiFi flow as a definition: what is in ``flow.json``, and how a stream's own values get into it.

    consume MQTT ─────────────success──────────────▶ publish rows ──▶ topic of rows
      │       │ unchecked                                ▲ valid
      │       └─────────▶ check rows ────────────────────┤
      │                       │ invalid, failure         │ valid
      │ dead_letter           ▼                          │
      │                   split rows ──▶ check each row ─┴──invalid, failure──▶ publish rejected rows
      ▼                                                                              ▼
    publish dead letters ──────────────────────────────────────────────▶ topic of dead letters

    publish … ──success (which rows Kafka has)──▶ tell the edge ──▶ MQTT

The source knows at a look which rows fit the schema: those that the edge makes. What looks otherwise is checked, and is
split when it fails, for a reason for each row.
"""

import copy
import json
import uuid
from pathlib import Path
from typing import Any

from streamproof.core.contract import Contract
from streamproof.core.message import CONFIRMATION_TOPIC
from streamproof.core.settings import KafkaSettings, MqttSettings

FLOW_FILE = Path(__file__).parent / "flow.json"
"""The definition as NiFi's own canvas can import it, too. Written by ``python -m nifi_templates export``."""

TEMPLATE_NAME = "streamproof"
SOURCE = "consume MQTT"
TELL_EDGE = "tell the edge"
PASSWORD = "mqtt.password"  # noqa: S105 - the parameter's name
NIFI_VERSION = "2.3.0"

PARAMETERS = (
    "mqtt.broker",
    "mqtt.topic.filter",
    "mqtt.topic.confirmations",
    "mqtt.client.id",
    "mqtt.username",
    PASSWORD,
    "kafka.servers",
    "kafka.topic.rows",
    "kafka.topic.dead.letters",
    "tls.ca",
    "tls.certificate",
    "tls.key",
    "record.schema",
    "record.key",
)
CONSUME, PUBLISH, CONFIRM = "ConsumeMqttAfterCommit", "PublishKafkaConfirmed", "PublishMqttConfirmations"
OURS = (CONSUME, PUBLISH, CONFIRM)
_STANDARD = "org.apache.nifi.processors.standard."
QUEUED_FLOWFILES = 8
_QUEUED_BYTES = "256 MB"
_CONFIRMATION_EXPIRES = "5 min"
_IN_ORDER = [
    "org.apache.nifi.prioritizer.PriorityAttributePrioritizer",  # the source numbers its FlowFiles
    "org.apache.nifi.prioritizer.FirstInFirstOutPrioritizer",
]


def stream_parameters(contract: Contract, mqtt: MqttSettings, kafka: KafkaSettings) -> dict[str, str]:
    """Return the parameters of a stream's flow: every address, topic, name, schema and certificate's file in it."""
    folder = mqtt.tls.for_cluster
    return {
        "mqtt.broker": mqtt.address_for_nifi,
        "mqtt.topic.filter": f"{contract.name}/+",
        "mqtt.topic.confirmations": CONFIRMATION_TOPIC.format(stream=contract.name, category="{category}", run="{run}"),
        "mqtt.client.id": client_id(contract),
        "mqtt.username": mqtt.username,
        PASSWORD: mqtt.password.get_secret_value(),
        "kafka.servers": kafka.servers_for_cluster,
        "kafka.topic.rows": contract.topics.rows,
        "kafka.topic.dead.letters": contract.topics.dead_letters,
        "tls.ca": str(folder / "ca.pem") if folder else "",
        "tls.certificate": str(folder / "nifi.pem") if folder else "",
        "tls.key": str(folder / "nifi.key") if folder else "",
        "record.schema": json.dumps(contract.avro_schema()),
        "record.key": contract.partition_by or "",
    }


def client_id(contract: Contract) -> str:
    """Return the client id that names the stream's session with the MQTT broker."""
    return f"streamproof-nifi-{contract.name}"


def context_name(stream: str) -> str:
    """Return the name of the parameter context of a stream."""
    return f"{TEMPLATE_NAME} {stream}"


def stream_definition(template: dict[str, Any], stream: str, parameters: dict[str, str]) -> dict[str, Any]:
    """Return the definition with a stream's name and its values for the parameters."""
    definition = copy.deepcopy(template)
    (context,) = definition["parameterContexts"].values()
    context["name"] = context_name(stream)
    for parameter in context["parameters"]:
        parameter["value"] = parameters[parameter["name"]] or None
    definition["parameterContexts"] = {context["name"]: context}
    definition["flowContents"] |= {"name": stream, "parameterContextName": context["name"]}
    return definition


def build_definition() -> dict[str, Any]:
    """Return the definition that serves every stream, its parameters without values."""
    reader = _service(
        "read JSON",
        "JsonTreeReader",
        {"schema-access-strategy": "schema-text-property", "schema-text": "#{record.schema}"},
    )
    writer = _service(
        "write JSON lines",
        "JsonRecordSetWriter",
        {"output-grouping": "output-oneline", "Schema Write Strategy": "no-schema"},
    )
    check = {
        "record-reader": reader["identifier"],
        "record-writer": writer["identifier"],
        "schema-access-strategy": "schema-text-property",
        "schema-text": "#{record.schema}",
        "allow-extra-fields": "false",
        "strict-type-checking": "true",
        "validation-details-attribute-name": "validation.details",
    }
    tls = {"CA File": "#{tls.ca}", "Certificate File": "#{tls.certificate}", "Key File": "#{tls.key}"}
    publish = {"Bootstrap Servers": "#{kafka.servers}", "Topic": "#{kafka.topic.dead.letters}"} | tls
    broker = {"Broker": "#{mqtt.broker}", "Username": "#{mqtt.username}", "Password": f"#{{{PASSWORD}}}"} | tls
    consume = broker | {"Topic Filter": "#{mqtt.topic.filter}", "Client ID": "#{mqtt.client.id}"}
    consume |= {"Record Schema": "#{record.schema}"}
    rows = {"Topic": "#{kafka.topic.rows}", "Content": "rows", "Key Field": "#{record.key}"}
    processors = [
        _processor(SOURCE, CONSUME, (0, 0), consume),
        _processor("check rows", "ValidateRecord", (500, 250), check),
        _processor("split rows", "SplitText", (500, 500), {"Line Split Count": "1"}, ends=["original"]),
        _processor("check each row", "ValidateRecord", (500, 750), check),
        _processor("publish rows", PUBLISH, (1000, 0), publish | rows),
        _processor("publish rejected rows", PUBLISH, (1000, 750), publish | {"Content": "rejected rows"}),
        _processor("publish dead letters", PUBLISH, (0, 1000), publish | {"Content": "dead letters"}),
        _processor(TELL_EDGE, CONFIRM, (1500, 500), broker | {"Topic": "#{mqtt.topic.confirmations}"}),
    ]
    connections = [
        _connection(SOURCE, ["success"], "publish rows"),
        _connection(SOURCE, ["unchecked"], "check rows"),
        _connection(SOURCE, ["dead_letter"], "publish dead letters"),
        _connection("check rows", ["valid"], "publish rows"),
        _connection("check rows", ["invalid", "failure"], "split rows"),
        _connection("split rows", ["splits"], "check each row"),
        _connection("split rows", ["failure"], "publish rejected rows"),
        _connection("check each row", ["valid"], "publish rows"),
        _connection("check each row", ["invalid", "failure"], "publish rejected rows"),
        *(_connection(p["name"], ["failure"], p["name"]) for p in processors if p["type"] == PUBLISH),
        *(_confirmations(p["name"]) for p in processors if p["type"] == PUBLISH),
    ]
    return {
        "flowContents": {
            "identifier": _id(TEMPLATE_NAME),
            "name": TEMPLATE_NAME,
            "comments": "",
            "position": {"x": 0.0, "y": 0.0},
            "processGroups": [],
            "remoteProcessGroups": [],
            "inputPorts": [],
            "outputPorts": [],
            "labels": [],
            "funnels": [],
            "processors": processors,
            "connections": connections,
            "controllerServices": [reader, writer],
            "parameterContextName": TEMPLATE_NAME,
            "defaultFlowFileExpiration": "0 sec",
            "defaultBackPressureObjectThreshold": QUEUED_FLOWFILES,
            "defaultBackPressureDataSizeThreshold": _QUEUED_BYTES,
            "scheduledState": "ENABLED",
            "executionEngine": "INHERITED",
            "flowFileConcurrency": "UNBOUNDED",
            "flowFileOutboundPolicy": "STREAM_WHEN_AVAILABLE",
            "componentType": "PROCESS_GROUP",
        },
        "externalControllerServices": {},
        "parameterContexts": {
            TEMPLATE_NAME: {
                "name": TEMPLATE_NAME,
                "parameters": [
                    {"name": name, "sensitive": name == PASSWORD, "provided": False, "value": None}
                    for name in PARAMETERS
                ],
                "inheritedParameterContexts": [],
                "componentType": "PARAMETER_CONTEXT",
            }
        },
        "parameterProviders": {},
        "flowEncodingVersion": "1.0",
        "latest": False,
    }


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{TEMPLATE_NAME}:{name}"))


def _bundle(artifact: str, version: str = NIFI_VERSION) -> dict[str, str]:
    return {"group": "org.apache.nifi", "artifact": artifact, "version": version}


def _processor(
    name: str, kind: str, position: tuple[int, int], properties: dict[str, str], *, ends: list[str] | None = None
) -> dict[str, Any]:
    ours, publish = kind in OURS, kind == PUBLISH
    sends = kind in (PUBLISH, CONFIRM)
    if kind == PUBLISH:
        ends = ["original"]
    elif kind == CONFIRM:
        ends = ["original", "success", "failure"]
    return {
        "identifier": _id(name),
        "name": name,
        "comments": "",
        "position": {"x": float(position[0]), "y": float(position[1])},
        "type": kind if ours else _STANDARD + kind,
        "bundle": _bundle("python-extensions", "0.1.0") if ours else _bundle("nifi-standard-nar"),
        "properties": properties,
        "propertyDescriptors": {},
        "style": {},
        "schedulingPeriod": "0 sec",
        "schedulingStrategy": "TIMER_DRIVEN",
        # With several nodes one is to read: two would have two sessions, and what is lost would not show by its order.
        "executionNode": "PRIMARY" if name == SOURCE else "ALL",
        "penaltyDuration": "1 sec",
        "yieldDuration": "1 sec" if sends else "10 millis",
        "bulletinLevel": "WARN",
        "runDurationMillis": 0,  # one FlowFile a session: the source acknowledges what is committed
        "concurrentlySchedulableTaskCount": 1,  # one task keeps the order
        "autoTerminatedRelationships": ends or [],
        "scheduledState": "ENABLED",
        "retryCount": 1_000_000 if publish else 10,
        "retriedRelationships": ["failure"] if sends else [],
        "backoffMechanism": "YIELD_PROCESSOR",  # not a penalty, with which others would overtake
        "maxBackoffPeriod": "10 sec",
        "componentType": "PROCESSOR",
        "groupIdentifier": _id(TEMPLATE_NAME),
    }


def _service(name: str, kind: str, properties: dict[str, str]) -> dict[str, Any]:
    return {
        "identifier": _id(name),
        "name": name,
        "comments": "",
        "type": f"org.apache.nifi.json.{kind}",
        "bundle": _bundle("nifi-record-serialization-services-nar"),
        "properties": properties,
        "propertyDescriptors": {},
        "controllerServiceApis": [],
        "scheduledState": "DISABLED",
        "bulletinLevel": "WARN",
        "componentType": "CONTROLLER_SERVICE",
        "groupIdentifier": _id(TEMPLATE_NAME),
    }


def _confirmations(sink: str) -> dict[str, Any]:
    """Return a queue that never holds the rows back: no bound, as what is too old is thrown away; the edge asks again.

    While the broker is away no rows come either, so it stays short.
    """
    return _connection(sink, ["success"], TELL_EDGE) | {
        "backPressureObjectThreshold": 0,
        "backPressureDataSizeThreshold": "0 B",
        "flowFileExpiration": _CONFIRMATION_EXPIRES,
    }


def _connection(source: str, relationships: list[str], destination: str) -> dict[str, Any]:
    def end(name: str) -> dict[str, str]:
        return {"id": _id(name), "type": "PROCESSOR", "groupId": _id(TEMPLATE_NAME), "name": name, "comments": ""}

    return {
        "identifier": _id(f"{source} {relationships} {destination}"),
        "name": "",
        "source": end(source),
        "destination": end(destination),
        "labelIndex": 0 if source == destination else 1,
        "zIndex": 0,
        "selectedRelationships": relationships,
        "backPressureObjectThreshold": QUEUED_FLOWFILES,
        "backPressureDataSizeThreshold": _QUEUED_BYTES,
        "flowFileExpiration": "0 sec",
        "prioritizers": _IN_ORDER,
        "bends": [],
        "loadBalanceStrategy": "DO_NOT_LOAD_BALANCE",
        "loadBalanceCompression": "DO_NOT_COMPRESS",
        "componentType": "CONNECTION",
        "groupIdentifier": _id(TEMPLATE_NAME),
    }
