"""A secured stack: the main job proven, each door shut to whoever does not belong, and no secret outside its file."""

import gzip
import os
import socket
import ssl
import tempfile
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from free_ports import free_ports
from waiting import until

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay
from flink_jobs.cluster import Cluster
from flink_jobs.submission import JobOptions, _rights, submit
from nifi_templates.deployment import deploy
from nifi_templates.deployment import status as flow_status
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.late_rows import late_rows
from streamproof.chain.secured import secure
from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.core.contract import load_contract
from streamproof.core.kafka import new_consumer
from streamproof.core.kafka_rights import allow
from streamproof.core.question import load_question
from streamproof.core.settings import (
    FlinkSettings,
    HomeSettings,
    KafkaSettings,
    MqttSettings,
    NifiSettings,
    TlsSettings,
)
from streamproof.drills.drill import DrillOptions, drilled_chain
from streamproof.generator.make import make
from streamproof.stack import authority as authorities
from streamproof.stack.authority import INTERNAL, Authority, Edge
from streamproof.stack.process import MARK
from streamproof.stack.servers import Stack
from validation.answers import Wanted
from validation.verdict import validate

pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]

EDGE = Edge("books", ("ratings/Books",))
RUN = "secured"
PATIENCE, WINDOW_SECONDS = 60, 600
REFUSED = (b"400", b"301")  # the second: Flink names the address with https
NOT_AUTHORISED = "authorization failed"


@pytest.fixture(scope="module")
def secured():
    """A secured stack of its own; whoever asks without more is its operator."""
    with ExitStack() as cleanup:
        environment = cleanup.enter_context(pytest.MonkeyPatch.context())
        names = ("MQTT", "EDGE", "KAFKA", "CONTROLLER", "NIFI", "MANAGEMENT", "FLINK", "RPC")
        port = dict(zip(names, free_ports(len(names)), strict=True))
        for name, value in {
            "STREAMPROOF_HOME": tempfile.mkdtemp(dir=os.environ["STREAMPROOF_TESTS"]),
            "STREAMPROOF_MQTT_PORT": port["MQTT"],
            "STREAMPROOF_STACK_MOSQUITTO_EDGE_PORT": port["EDGE"],
            "STREAMPROOF_KAFKA_SERVERS": f"127.0.0.1:{port['KAFKA']}",
            "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": port["CONTROLLER"],
            "NIFI_API_ENDPOINT": f"https://127.0.0.1:{port['NIFI']}/nifi-api",
            "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT": port["MANAGEMENT"],
            "STREAMPROOF_FLINK_JOBMANAGER": f"127.0.0.1:{port['FLINK']}",
            "STREAMPROOF_STACK_FLINK_RPC_PORT": port["RPC"],
            "STREAMPROOF_STACK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
            **dict.fromkeys(
                ("STREAMPROOF_TLS_CA", "STREAMPROOF_TLS_CERT", "STREAMPROOF_TLS_KEY"), ""
            ),  # put back after
        }.items():
            environment.setenv(name, str(value))
        secure([EDGE])
        stack = Stack.from_environment()
        cleanup.callback(stack.down)
        start_servers(stack, extensions_folder())
        deploy(load_contract("ratings"))
        yield stack


@pytest.fixture(scope="module")
def doors(secured):
    """Each port that a part listens on, with the identity that it opens to."""
    parts = {part.name: part for part in secured._choose(["mosquitto", "kafka", "nifi", "jobmanager"])}
    (inner, edges), (clients, controller), (rest, _), (flink, rpc) = (part.addresses for part in parts.values())
    return {
        "Mosquitto": (inner.port, "operator"),
        "Mosquitto for edges": (edges.port, EDGE.name),
        "Kafka": (clients.port, "operator"),
        "Kafka's controller": (controller.port, "kafka"),
        "NiFi": (rest.port, "operator"),
        "Flink's REST": (flink.port, "operator"),
        "Flink's own": (rpc.port, INTERNAL),
    }


def unchecked(folder, name, ca=None):
    """Settings that the toolkit itself would refuse, as somebody else's client would have them."""
    files = {"cert": folder / f"{name}.pem", "key": folder / f"{name}.key"} if name else {"cert": None, "key": None}
    return TlsSettings.model_construct(ca=ca or folder / "ca.pem", cluster=None, **files)


@pytest.fixture(scope="module")
def strangers(secured, tmp_path_factory):
    """Those who do not belong, by what is wrong with them; one of each for every name that opens a door."""
    ours, folder = secured.authority.folder, tmp_path_factory.mktemp("strangers")
    foreign = Authority(folder / "foreign")
    foreign.renew([EDGE])
    found = {"no certificate": unchecked(ours, None)}
    with pytest.MonkeyPatch.context() as clock:
        long_ago = datetime.now(UTC) - timedelta(days=400)
        clock.setattr(authorities, "_now", lambda: long_ago)
        for name in ("operator", "kafka", EDGE.name):
            signer = secured.authority._own("edges" if name == EDGE.name else "services")
            expired = signer.sign(name, authorities.IDENTITIES["operator"], ())
            Authority(folder)._write(name, expired)
            found[f"an expired {name}"] = unchecked(folder, name, ours / "ca.pem")
            found[f"a foreign {name}"] = unchecked(foreign.folder, name, ours / "ca.pem")
    return found


def is_open(port, tls, version=ssl.TLSVersion.TLSv1_3):
    """Whether a port takes this certificate: with TLS 1.3 a refusal comes behind the handshake, at the first read."""
    context = tls.context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whom we trust is not what is asked here
    context.minimum_version = context.maximum_version = version
    try:
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain) as shown,
        ):
            shown.sendall(b"GET /flow HTTP/1.0\r\n\r\n")
            shown.settimeout(5)
            shown.recv(1)
    except TimeoutError:  # it waits for more
        return True
    except (ssl.SSLError, ConnectionError):
        return False
    return True


DOORS = ("Mosquitto", "Mosquitto for edges", "Kafka", "Kafka's controller", "NiFi", "Flink's REST", "Flink's own")


@pytest.mark.parametrize("door", DOORS)
def test_a_door_opens_to_whom_it_is_for(secured, doors, door):
    port, name = doors[door]
    assert is_open(port, unchecked(secured.authority.folder, name))


@pytest.mark.parametrize("door", DOORS)
def test_a_door_does_not_open_to_a_stranger(secured, doors, strangers, door):
    port, name = doors[door]
    assert not [what for what, tls in strangers.items() if is_open(port, tls)]
    assert not is_open(port, unchecked(secured.authority.folder, name), ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize("door", DOORS)
def test_plain_text_gets_no_answer(doors, door):
    with socket.create_connection(("127.0.0.1", doors[door][0]), PATIENCE) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        try:
            answer = plain.recv(12)
        except ConnectionError:
            answer = b""
    assert not answer or answer[:1] == b"\x15" or answer[9:12] in REFUSED, answer  # 0x15: a TLS alert


@pytest.mark.parametrize("door", [door for door in DOORS if door != "Mosquitto for edges"])
def test_an_edge_finds_no_other_door_open_than_its_own(secured, doors, door):
    assert not is_open(doors[door][0], unchecked(secured.authority.folder, EDGE.name))


@pytest.mark.parametrize("name", ["observer", "health", "nifi", "kafka"])
def test_flink_which_runs_any_code_opens_to_the_operator_alone(secured, doors, name):
    assert not is_open(doors["Flink's REST"][0], unchecked(secured.authority.folder, name))


def as_(secured, name, settings):
    return settings(tls=secured.authority.identity(name))


@pytest.mark.parametrize("name", ["observer", "health", "nifi"])
def test_nifi_lets_the_observer_look_at_its_state_and_nobody_else_but_the_operator_do_anything(secured, name):
    nifi = as_(secured, name, NifiSettings)
    source = "/flow/process-groups/root/status"
    with httpx.Client(verify=nifi.tls.context(), trust_env=False, timeout=PATIENCE) as client:
        assert client.get(nifi.api_endpoint + source).status_code == (200 if name == "observer" else 403)
        group = httpx.get(
            f"{nifi.api_endpoint}/flow/process-groups/root",
            verify=NifiSettings().tls.context(),
            trust_env=False,
            timeout=PATIENCE,
        ).json()["processGroupFlow"]["id"]
        assert client.get(f"{nifi.api_endpoint}/process-groups/{group}").status_code == 403
        assert client.get(f"{nifi.api_endpoint}/controller/config").status_code == 403
        # NiFi takes this and stops what this identity may stop: nothing.
        client.put(f"{nifi.api_endpoint}/flow/process-groups/{group}", json={"id": group, "state": "STOPPED"})
        assert flow_status("ratings").running
        made = {"revision": {"version": 0}, "component": {"name": "mine"}}
        answer = client.post(f"{nifi.api_endpoint}/process-groups/{group}/process-groups", json=made)
        assert answer.status_code == 403


def write(kafka, topic):
    """Return Kafka's error for a record, None where it took it."""
    errors = []
    producer = Producer(kafka.client | {"message.timeout.ms": PATIENCE * 1000})
    producer.produce(topic, b"x", on_delivery=lambda error, _: errors.append(error))
    producer.flush(PATIENCE)
    (error,) = errors
    return error and error.str().lower()


def read(kafka, topic):
    """Return Kafka's error for a look at a topic's first record, None where it gave it."""
    consumer = new_consumer(kafka, auto_offset_reset="earliest", enable_partition_eof=True)
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(PATIENCE)
        error = message.error()
        return None if error is None or error.name() == "_PARTITION_EOF" else error.str().lower()
    finally:
        consumer.close()


@pytest.mark.parametrize(
    ("name", "topic"),
    [(name, topic) for name in ("observer", "health", "flink") for topic in ("ratings", "ratings.dead-letter")]
    + [(name, "ratings.averages") for name in ("observer", "health", "nifi")],
)
def test_kafka_lets_each_write_its_own_topics_alone(secured, proven, name, topic):  # noqa: ARG001 - the topics are there
    assert NOT_AUTHORISED in write(as_(secured, name, KafkaSettings), topic)


@pytest.mark.parametrize("name", ["nifi", "health"])
def test_kafka_lets_those_read_who_need_it(secured, proven, name):  # noqa: ARG001
    assert NOT_AUTHORISED in read(as_(secured, name, KafkaSettings), "ratings")
    assert read(as_(secured, "observer", KafkaSettings), "ratings") is None


@pytest.fixture(scope="module")
def job(secured):  # noqa: ARG001 - it runs there
    job = submit([load_question("rating_averages")], JobOptions(run=RUN)).job
    yield job
    Cluster().cancel(job)


@pytest.fixture(scope="module")
def proven(secured, job, tmp_path_factory):
    """The verdict of a run whose rows an edge has sent with its own certificate, and nothing else."""
    files = make("ratings", 5000, tmp_path_factory.mktemp("rows"), categories=["Books"]).files
    tls = secured.authority.identity(EDGE.name)
    replay(
        ReplayOptions(contract=load_contract("ratings"), files=files, run=RUN, clock="virtual", interval=10),
        mqtt=MqttSettings(port=secured.settings.mosquitto_edge_port, tls=tls),
        kafka=KafkaSettings(tls=tls),
    )
    return until_proven(RUN, job)


def until_proven(run, job, seconds=WINDOW_SECONDS):
    """Return the verdict, when it is good or after so many seconds."""
    home, kafka, wanted = HomeSettings(), KafkaSettings(), Wanted(job=job)
    return validate(run, home, kafka, wanted=wanted, wait=seconds, late=late_rows, stages=STAGES)


def test_the_rows_that_an_edge_sends_with_its_own_certificate_are_proven(proven):
    assert proven.proven, proven.reasons
    assert (proven.rows.sent, proven.rows.kafka) == (5000, 5000)


@pytest.mark.parametrize("fault", ["kill-mosquitto", "kill-nifi"])
def test_a_killed_part_of_a_secured_stack_loses_nothing_and_every_window_is_right(secured, fault):
    with drilled_chain(secured) as drilled:
        result = drilled.drill(fault, DrillOptions(rounds=1, seed=1))
    assert result.proven, result.reasons
    assert (result.rows.lost, result.windows.missing, result.windows.wrong) == (0, 0, 0)


def test_no_secret_is_in_a_log_an_answer_a_flow_or_the_arguments_of_a_process(secured, proven, job):  # noqa: ARG001
    folder, home = secured.authority.folder, HomeSettings().home
    keys = [file.read_text().splitlines()[1] for file in folder.glob("*.key")]
    secrets = [text.encode() for text in (*keys, secured.authority.password, (home / "nifi/sensitive.key").read_text())]

    def leaks(content):
        return any(secret in content for secret in secrets)

    for file in home.rglob("*"):
        if file.is_file() and not file.is_relative_to(folder) and file.suffix not in {".nar", ".jar"}:
            with suppress(OSError):  # servers make and remove files meanwhile
                content = file.read_bytes()
                content = gzip.decompress(content) if file.suffix == ".gz" else content
                if leaks(content):  # what a server is configured with, for its owner alone
                    assert file.name in {"nifi.properties", "config.yaml", "sensitive.key"}, file
                    assert file.stat().st_mode & 0o077 == 0, file
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if environment.get(MARK) == str(home):
                assert not leaks("\0".join((*process.cmdline(), *environment.values())).encode()), process.cmdline()
    flink, nifi = FlinkSettings(), NifiSettings()
    paths = ["/jobmanager/config", "/jobmanager/environment", "/taskmanagers", f"/jobs/{job}/config"]
    answers = [*(flink.url + path for path in paths)]
    answers += [
        nifi.api_endpoint + path
        for path in (
            "/flow/parameter-contexts",
            "/flow/process-groups/root",
            "/system-diagnostics",
            "/controller/config",
        )
    ]
    with httpx.Client(verify=flink.tls.context(), trust_env=False, timeout=PATIENCE) as client:
        for address in answers:
            assert not leaks(client.get(address).raise_for_status().content), address


def test_flink_without_its_right_on_transactional_ids_writes_nothing_and_with_it_again_everything(secured, tmp_path):
    run, question, contract = "rights", load_question("rating_averages"), load_contract("ratings")
    job, kafka = submit([question], JobOptions(run=run)).job, KafkaSettings()
    transactions = AclBindingFilter(
        ResourceType.TRANSACTIONAL_ID,
        f"streamproof-{job}-",
        ResourcePatternType.PREFIXED,
        "User:flink",
        "*",
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = AdminClient(kafka.client)  # kept: it takes its pending answers with it
    (taken,) = admin.delete_acls([transactions]).values()
    assert len(taken.result()) == 2
    for name in Cluster().taskmanagers(job):
        secured.processes.find(name).kill()
    files = make("ratings", 2000, tmp_path, categories=["Books"]).files
    replay(ReplayOptions(contract=contract, files=files, run=run, clock="virtual", interval=10))
    until(lambda: "TransactionalIdAuthorizationException" in str(Cluster()._get(f"/jobs/{job}/exceptions")))
    assert not until_proven(run, job, seconds=5).windows.right
    allow(kafka, "flink", _rights(job, [question], contract))
    verdict = until_proven(run, job)
    assert verdict.proven, verdict.reasons


def test_what_the_stack_writes_for_its_owner_nobody_else_can_read(secured):
    for file in secured.authority.folder.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    for name in ("nifi/conf/nifi.properties", "flink/jobmanager/config.yaml", "kafka/server.properties"):
        assert (Path(HomeSettings().home) / name).stat().st_mode & 0o077 == 0, name
