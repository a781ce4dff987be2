"""NiFi sink: tells the edge over MQTT which rows Kafka has.

Delivery guarantee: none is needed. A confirmation that is lost makes the edge send its rows again.
"""

import json
from typing import Any

from nifiapi.flowfiletransform import FlowFileTransform, FlowFileTransformResult
from nifiapi.properties import PropertyDescriptor, StandardValidators
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from python_process import end_with_parent

PATIENCE_SECONDS = 5.0
LONGEST_NAME = 100
"""Bytes of a run's or a category's name, as the edge limits them, too."""

QOS = 1


class PublishMqttConfirmations(FlowFileTransform):
    """One connection, made when the first FlowFile comes and again after each failure."""

    class Java:
        """What NiFi knows it as."""

        implements = ["org.apache.nifi.python.processor.FlowFileTransform"]

    class ProcessorDetails:
        """Read by NiFi from the source text: literals only."""

        version = "0.1.0"
        description = "Publishes each line over MQTT 5, to a topic made of the run and the category that it names."
        tags = ["mqtt", "publish", "confirmation", "json"]
        dependencies = ["paho-mqtt==2.2.0", "pybase64==1.5.1"]

    BROKER = PropertyDescriptor(
        name="Broker",
        description="Address of the MQTT broker, host:port.",
        required=True,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR],
    )
    TOPIC = PropertyDescriptor(
        name="Topic",
        description="Where a line goes; {run} and {category} stand for what the line names.",
        required=True,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR],
    )
    USERNAME = PropertyDescriptor(name="Username", description="For brokers that ask for one.", required=False)
    PASSWORD = PropertyDescriptor(
        name="Password", description="For brokers that ask for one.", required=False, sensitive=True
    )
    CA_FILE = PropertyDescriptor(
        name="CA File",
        description="Authorities that must have signed the server's certificate, PEM. Without it nothing is encrypted.",
        required=False,
    )
    CERTIFICATE_FILE = PropertyDescriptor(
        name="Certificate File", description="The certificate that is shown to the server, PEM.", required=False
    )
    KEY_FILE = PropertyDescriptor(name="Key File", description="Its private key, PEM.", required=False)
    descriptors = (BROKER, TOPIC, USERNAME, PASSWORD, CA_FILE, CERTIFICATE_FILE, KEY_FILE)

    def __init__(self, **_: object) -> None:
        end_with_parent()
        self.client: Client | None = None

    def getPropertyDescriptors(self) -> list[object]:
        """Return the properties; NiFi calls this."""
        return list(self.descriptors)

    def onScheduled(self, context: Any) -> None:
        """Begin anew; NiFi calls this at each start, but not for a process that it had to start again."""
        self._disconnect()

    def onStopped(self, context: Any) -> None:
        """Leave the broker."""
        self._disconnect()

    def transform(self, context: Any, flowfile: Any) -> Any:
        """Publish a FlowFile's lines; ``success`` when the broker has all of them."""
        lines = bytes(flowfile.getContentsAsBytes()).splitlines()
        if not lines:
            return FlowFileTransformResult("success")
        try:
            client = self.client or self._connect(context)
            for sent in [self._publish(client, line) for line in lines]:
                if sent is not None:
                    sent.wait_for_publish(PATIENCE_SECONDS)
                    if not sent.is_published():
                        raise TimeoutError(f"no answer within {PATIENCE_SECONDS:g} s")
        except (OSError, RuntimeError) as error:
            self._disconnect()
            where = context.getProperty(self.BROKER).getValue()
            self.logger.warn(f"MQTT broker at {where}: {error}; the confirmation will be tried again")
            return FlowFileTransformResult("failure", {"mqtt.error": str(error)[:1000]})
        return FlowFileTransformResult("success")

    def _publish(self, client: Client, line: bytes) -> MQTTMessageInfo | None:
        fields = json.loads(line)
        if not all(_is_name(fields[part]) for part in ("run", "category")):
            return None  # no edge is called so, and a broker ends the connection over many such topics
        return client.publish(self.topic.format(run=fields["run"], category=fields["category"]), line, qos=QOS)

    def _connect(self, context: Any) -> Client:
        def value(descriptor: Any) -> str:
            return context.getProperty(descriptor).getValue() or ""

        self.topic = value(self.TOPIC)
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if username := value(self.USERNAME):
            client.username_pw_set(username, value(self.PASSWORD) or None)
        if ca := value(self.CA_FILE):
            client.tls_set(ca, value(self.CERTIFICATE_FILE) or None, value(self.KEY_FILE) or None)
        client.connect_timeout = PATIENCE_SECONDS
        host, _, port = value(self.BROKER).rpartition(":")
        client.connect(host, int(port), keepalive=30)
        client.loop_start()
        self.client = client
        return client

    def _disconnect(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()


def _is_name(text: str) -> bool:
    """Return whether the text can be one level of an MQTT topic; for brokers neither control nor non-characters can."""
    return bool(text) and text.isprintable() and len(text.encode()) <= LONGEST_NAME and not set(text) & set("/+#")
