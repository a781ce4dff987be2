"""The stream's session with the MQTT broker: made before the flow starts, so that nothing published is dropped."""

import queue
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import MqttSettings

FOR_EVER = 0xFFFFFFFF
SECONDS = 15.0


def keep_session(client: str, topic_filter: str, mqtt: MqttSettings) -> None:
    """Subscribe as the flow's client and leave again: from now on the broker keeps what the topics get.

    Messages that it already holds are not acknowledged, so they stay. The flow's own client must be away: the
    broker lets only one of them in.

    Raises:
        StreamproofError: the broker cannot be reached, or refuses.

    """
    events: queue.Queue[str] = queue.Queue()
    where = f"the MQTT broker at {mqtt.host}:{mqtt.port}"
    mqtt_client = Client(CallbackAPIVersion.VERSION2, client, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    if mqtt.username:
        mqtt_client.username_pw_set(mqtt.username, mqtt.password.get_secret_value() or None)

    def on_connect(c: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:  # noqa: ANN401
        if reason.is_failure:
            events.put(str(reason))
        else:
            c.subscribe(topic_filter, qos=1)

    def on_subscribe(_c: Client, _data: object, _mid: int, reasons: list[Any], _properties: object) -> None:
        events.put(str(reasons[0]) if reasons[0].is_failure else "")

    mqtt_client.on_connect, mqtt_client.on_subscribe = on_connect, on_subscribe
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = FOR_EVER
    properties.ReceiveMaximum = 1
    try:
        mqtt_client.connect(mqtt.host, mqtt.port, clean_start=False, properties=properties)
        mqtt_client.loop_start()
        refusal = events.get(timeout=SECONDS)
    except queue.Empty:
        raise StreamproofError(f"{where} does not answer within {SECONDS:g} s") from None
    except OSError as error:
        raise StreamproofError(f"{where} cannot be reached: {error}") from error
    finally:
        mqtt_client.disconnect()
        mqtt_client.loop_stop()
    if refusal:
        raise StreamproofError(f"{where} refuses to subscribe {client} to {topic_filter}: {refusal}")
