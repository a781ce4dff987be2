"""Publishing alone, with nobody behind the broker: the edge as it is, bare paho, and Mosquitto's own client."""

import subprocess
import time
from collections.abc import Callable

from edge_replayer.csv_rows import CsvRows
from edge_replayer.payload import Payloads
from streamproof.bench.ground import CATEGORIES, CONTRACT, START, contract_file, refuse, replay, sample_files
from streamproof.bench.measure import Benchmark, Once
from streamproof.core.errors import StreamproofError
from streamproof.core.mqtt import new_client
from streamproof.core.run import load_run, new_run_id
from streamproof.core.settings import HomeSettings, MqttSettings

_STREAM = "bench"


def _edge(batch_rows: int) -> Callable[[int], Once]:
    """Let the edge send at QoS 1 and take the broker's acknowledgement for the confirmation."""

    def once(rows: int) -> Once:
        run = new_run_id()
        cpu = replay(
            run,
            sample_files(rows),
            *("--rate", "max", "--start", START, "--confirm", "broker", "--batch-rows", str(batch_rows)),
            stream=str(contract_file(_STREAM)),
        )
        ended = time.time()
        began = (load_run(run, HomeSettings()).began or 0) / 1000
        return Once(rows / (ended - began), {"replayer, µs/row": 1e6 * cpu / rows})

    return once


def _qos_0(batch_rows: int) -> Callable[[int], Once]:
    """Let bare paho send messages that are made beforehand."""

    def once(rows: int) -> Once:
        messages = _messages(rows, batch_rows)
        mqtt = MqttSettings()
        client = new_client(mqtt)
        client.connect(mqtt.host, mqtt.port)
        client.loop_start()
        began = time.monotonic()
        for message in messages:
            last = client.publish(f"{_STREAM}/{CATEGORIES[0]}", message, qos=0)
        last.wait_for_publish()
        seconds = time.monotonic() - began
        client.disconnect()
        client.loop_stop()
        return Once(rows / seconds)

    return once


def _mosquitto_pub(rows: int) -> Once:
    lines = HomeSettings().home / "bench" / "messages"
    lines.parent.mkdir(parents=True, exist_ok=True)
    lines.write_bytes(b"\n".join(_messages(rows, 1)) + b"\n")
    mqtt = MqttSettings()
    command = ["mosquitto_pub", "-h", mqtt.host, "-p", str(mqtt.port), "-V", "mqttv5", "-q", "1", "-l"]
    with lines.open("rb") as file:
        began = time.monotonic()
        done = subprocess.run([*command, "-t", f"{_STREAM}/{CATEGORIES[0]}"], stdin=file, check=False)
        seconds = time.monotonic() - began
    if done.returncode:
        raise StreamproofError(f"mosquitto_pub ended with exit code {done.returncode}")
    return Once(rows / seconds)


def _messages(rows: int, batch_rows: int) -> list[bytes]:
    """Return what the edge would send: so many rows of one category, so many in a message."""
    contract, (category, *_) = CONTRACT, CATEGORIES
    file = sample_files(rows * len(CATEGORIES))[category]
    payloads = Payloads("bench", contract, [category])
    numbered = [(seq, seq, body) for seq, (_, _, body) in enumerate(CsvRows(contract, file).rows(refuse), 1)]
    return [payloads.rows(category, numbered[at : at + batch_rows], at) for at in range(0, rows, batch_rows)]


PUBLISH = {
    **{
        f"publish.{name}": Benchmark(
            "rows/s",
            _edge(batch_rows),
            rows,
            f"the edge, QoS 1, {batch_rows} rows a message, acknowledged by the broker",
        )
        for name, batch_rows, rows in (
            ("single", 1, 100_000),
            ("10", 10, 500_000),
            ("100", 100, 1_000_000),
            ("1000", 1000, 1_000_000),
        )
    },
    **{
        f"publish.qos0.{batch_rows}": Benchmark(
            "rows/s", _qos_0(batch_rows), rows, f"bare paho, QoS 0, {batch_rows} rows a message made beforehand"
        )
        for batch_rows, rows in ((1, 100_000), (10, 500_000), (100, 1_000_000), (1000, 1_000_000))
    },
    "publish.mosquitto_pub": Benchmark(
        "rows/s",
        _mosquitto_pub,
        100_000,
        "mosquitto_pub -l -q 1 on the same messages of one row",
        program=("mosquitto_pub", "apt-get install mosquitto-clients"),
    ),
}
