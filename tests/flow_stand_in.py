"""A stand-in for the flow, where only the edge is looked at: it keeps every row, and confirms it."""

import json
import threading
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from waiting import PATIENCE, until

from streamproof.core.settings import MqttSettings


class FlowStandIn:
    """A stand-in for the flow: keeps every row, and confirms it as the flow would, until told not to.

    Its session outlives a restart of the broker, and it subscribes again to one that has forgotten it.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self.rows: list[dict] = []
        self.confirms = True
        self.has_rows = threading.Event()
        self.subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, "listener", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_message = lambda _c, _u, m: self.take([json.loads(line) for line in m.payload.split(b"\n")])
        self.client.on_connect = lambda *_: self.client.subscribe("ratings/+", options=SubscribeOptions(qos=1))
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.reconnect_delay_set(1, 1)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        # Mosquitto 2.0 saves only sessions that did not ask for a clean start.
        self.client.connect(settings.host, settings.port, clean_start=False, properties=properties)
        self.client.loop_start()
        assert self.subscribed.wait(PATIENCE)

    def take(self, rows: list[dict]) -> None:
        self.rows += rows
        first, last = rows[0], rows[-1]
        if first["seq"]:
            self.has_rows.set()
        if self.confirms and first["seq"]:
            text = {"run": first["run"], "category": first["category"], "ranges": [[first["seq"], last["seq"]]]}
            topic = f"ratings/{first['category']}/confirmed/{first['run']}"
            self.client.publish(topic, json.dumps(text), qos=1)

    def of(self, run: str, category: str) -> list[dict]:
        return [row for row in list(self.rows) if (row["run"], row["category"]) == (run, category)]

    def wait_for_end(self, run: str, *categories: str) -> None:
        until(lambda: all(any(row["seq"] == -1 for row in self.of(run, category)) for category in categories))


def write(path: Path, rows: int) -> Path:
    path.write_text("".join(f"u{n},B{n % 7},{n % 5 + 1}.0,{n}\n" for n in range(1, rows + 1)))
    return path
