"""Three Kafka brokers under load, on servers of their own: each lost in turn, then two at once."""

import secrets

import pytest
from free_ports import free_ports
from own_servers import own_servers
from typer.testing import CliRunner

from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.cli import app
from streamproof.drills.drill import DrillOptions, drilled_chain


def test_what_takes_three_brokers_is_refused_where_there_is_one():
    done = CliRunner().invoke(app, ["drill", "lose-broker"])
    assert "lose-broker takes three brokers: `streamproof up --brokers 3`" in str(done.exception)


@pytest.fixture(scope="module")
def drilled():
    first, *_ = free_ports(6, in_a_row=True)
    mqtt, nifi, management, flink, rpc = free_ports(5)
    more = {
        "STREAMPROOF_KAFKA_SERVERS": ",".join(f"127.0.0.1:{first + step}" for step in (0, 2, 4)),
        "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": first + 1,
        "STREAMPROOF_MQTT_PORT": mqtt,
        "NIFI_API_ENDPOINT": f"http://127.0.0.1:{nifi}/nifi-api",
        "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT": management,
        "STREAMPROOF_FLINK_JOBMANAGER": f"127.0.0.1:{flink}",
        "STREAMPROOF_STACK_FLINK_RPC_PORT": rpc,
    }
    with own_servers(brokers=("kafka-1", "kafka-2", "kafka-3"), **more) as stack:
        start_servers(stack, extensions_folder())
        with drilled_chain(stack) as chain:
            yield chain


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("fault", "rounds"), [("lose-broker", 3), ("lose-two-brokers", 1)])
def test_the_chain_goes_on_without_one_broker_waits_without_two_and_every_window_is_right(drilled, fault, rounds):
    # It has gone on before the lost broker is back, or the drill fails; of two lost ones, before the second is.
    result = drilled.drill(fault, DrillOptions(rounds=rounds, seed=secrets.randbelow(10**6)))
    assert result.proven, result.reasons
    assert (result.rows.lost, result.windows.missing, result.windows.wrong) == (0, 0, 0)
    assert result.windows.right > 0
    if fault == "lose-two-brokers":
        assert min(result.standstills) > 15
