"""Two nodes of NiFi under load, on servers of their own: the primary one is lost, again and again."""

import secrets

import pytest
from free_ports import free_ports
from own_servers import own_servers
from typer.testing import CliRunner

from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.cli import app
from streamproof.drills.drill import DrillOptions, drilled_chain


def test_what_takes_two_nodes_is_refused_where_there_is_one():
    done = CliRunner().invoke(app, ["drill", "lose-nifi"])
    assert "lose-nifi takes two nodes of NiFi: `streamproof up --nifi-nodes 2`" in str(done.exception)


@pytest.fixture
def drilled():
    first, *_ = free_ports(14, in_a_row=True)
    more = {
        "STREAMPROOF_MQTT_PORT": first + 9,
        "NIFI_API_ENDPOINT": ",".join(f"http://127.0.0.1:{port}/nifi-api" for port in (first, first + 10)),
        "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT": first + 3,
        "STREAMPROOF_STACK_NIFI_CLUSTER_PORT": first + 4,
        "STREAMPROOF_STACK_ZOOKEEPER_PORT": first + 8,
        "STREAMPROOF_FLINK_JOBMANAGER": f"127.0.0.1:{first + 11}",
        "STREAMPROOF_STACK_FLINK_RPC_PORT": first + 12,
    }
    with own_servers(**more) as stack:
        start_servers(stack, extensions_folder())
        with drilled_chain(stack) as chain:
            yield chain


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_other_node_goes_on_the_lost_one_comes_back_and_every_window_is_right(drilled):
    # It has gone on before the lost node is back, or the drill fails; each round loses the other one.
    result = drilled.drill("lose-nifi", DrillOptions(rounds=2, seed=secrets.randbelow(10**6)))
    assert result.proven, result.reasons
    assert (result.rows.lost, result.windows.missing, result.windows.wrong) == (0, 0, 0)
    assert result.windows.right > 0
