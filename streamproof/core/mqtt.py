"""The MQTT broker as this project's clients meet it: MQTT 5, and what is said where it refuses."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import MqttSettings


def broker_at(mqtt: MqttSettings) -> str:
    """Return the broker's name in messages."""
    return f"the MQTT broker at {mqtt.host}:{mqtt.port}"


def new_client(mqtt: MqttSettings, client_id: str = "", *, manual_ack: bool = False) -> Client:
    """Return a client that is not connected yet."""
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=manual_ack)
    log_in_as(client, mqtt)
    return client


def log_in_as(client: Client, mqtt: MqttSettings) -> None:
    """Let a client say who it is."""
    if context := mqtt.tls.context():
        client.tls_set_context(context)
    if mqtt.username:
        client.username_pw_set(mqtt.username, mqtt.password.get_secret_value() or None)


def cannot_be_reached(mqtt: MqttSettings, error: OSError) -> StreamproofError:
    """Return the error of a broker that is away."""
    return StreamproofError(
        f"{broker_at(mqtt)} cannot be reached: {error}. Start the servers (streamproof up), "
        "or set STREAMPROOF_MQTT_HOST and STREAMPROOF_MQTT_PORT"
    )


def why_refused(mqtt: MqttSettings, code: ReasonCode) -> str:
    """Say that the broker does not let a client in."""
    return (
        f"{broker_at(mqtt)} refuses the connection: {code}. "
        "Check STREAMPROOF_MQTT_USERNAME and STREAMPROOF_MQTT_PASSWORD, or STREAMPROOF_TLS_CERT"
    )


def breaks_off(mqtt: MqttSettings) -> str:
    """Say that a secured broker does not let a client in: with TLS 1.3 it looks at certificates after the handshake."""
    shown = f"the certificate {mqtt.tls.cert} (STREAMPROOF_TLS_CERT)" if mqtt.tls.cert else "no certificate"
    return (
        f"{broker_at(mqtt)} ends the connection without an answer: it was shown {shown}, and may let in others only at "
        "this port"
    )


def does_not_answer(mqtt: MqttSettings) -> StreamproofError:
    """Return the error of something that listens and says nothing."""
    return StreamproofError(f"{broker_at(mqtt)} accepts connections but does not answer: is it MQTT?")


@contextmanager
def connected(
    client: Client,
    mqtt: MqttSettings,
    topic_filter: str | None = None,
    on_message: Callable[[MQTTMessage], None] | None = None,
    *,
    session: Properties | None = None,
    seconds: float = 15,
) -> Iterator[Client]:
    """Connect a client, and subscribe it at QoS 1; disconnect it at the end.

    Args:
        client: the client.
        mqtt: where the broker is.
        topic_filter: what it subscribes to; None is nothing.
        on_message: what to do with each message.
        session: the properties of the connection where an earlier session goes on; None begins a clean one.
        seconds: how long the broker may take to answer.

    Raises:
        StreamproofError: the broker cannot be reached, does not answer, or refuses.

    """
    refusals: queue.Queue[str] = queue.Queue()

    def on_connect(_c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
        if code.is_failure or topic_filter is None:
            refusals.put(why_refused(mqtt, code) if code.is_failure else "")
        else:
            client.subscribe(topic_filter, qos=1)

    def on_subscribe(_c: Client, _u: object, _mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
        refused = f"{broker_at(mqtt)} refuses to subscribe to {topic_filter}: {codes[0]}"
        refusals.put(refused if codes[0].is_failure else "")

    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    if mqtt.tls.ca:
        client.on_disconnect = lambda *_: refusals.put(breaks_off(mqtt))
    if on_message:
        client.on_message = lambda _c, _u, message: on_message(message)
    clean_start = MQTT_CLEAN_START_FIRST_ONLY if session is None else False
    try:
        client.connect(mqtt.host, mqtt.port, clean_start=clean_start, properties=session)
        client.loop_start()
        refusal = refusals.get(timeout=seconds)
    except queue.Empty:
        raise does_not_answer(mqtt) from None
    except OSError as error:
        raise cannot_be_reached(mqtt, error) from error
    else:
        if refusal:
            raise StreamproofError(refusal)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
