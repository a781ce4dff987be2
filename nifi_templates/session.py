"""The stream's session with the MQTT broker: made before the flow starts, so that nothing published is dropped."""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamproof.core.mqtt import connected, new_client
from streamproof.core.settings import MqttSettings

FOR_EVER = 0xFFFFFFFF


def keep_session(client: str, topic_filter: str, mqtt: MqttSettings) -> None:
    """Subscribe as the flow's client and leave again: from now on the broker keeps what the topics get.

    Messages that it already holds are not acknowledged, so they stay. The flow's own client must be away: the
    broker lets only one of them in.

    Raises:
        StreamproofError: the broker cannot be reached, or refuses.

    """
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = FOR_EVER
    session.ReceiveMaximum = 1
    with connected(new_client(mqtt, client, manual_ack=True), mqtt, topic_filter, session=session):
        pass
