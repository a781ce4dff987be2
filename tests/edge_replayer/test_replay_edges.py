"""Runs that several edges send: what each waits for, what is refused, and how a dead edge goes on or is expelled."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from fractions import Fraction

import pytest
from checkout import CHECKOUT
from flow_stand_in import write
from waiting import PATIENCE, until

from edge_replayer.edges import Edges
from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay, resume
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.run import load_run
from streamproof.core.settings import HomeSettings

START = 1_704_067_200_000
EDGES = ("a", "b", "c")


class Edge(threading.Thread):
    """One edge of a run, in a thread of its own, with a home of its own: as on another machine."""

    def __init__(self, name, begin):
        super().__init__(daemon=True)
        self.name, self.begin = name, begin
        self.stop, self.result, self.error = threading.Event(), None, None
        self.start()

    def run(self):
        try:
            self.result = self.begin(self.stop)
        except (StreamproofError, UsageError) as error:
            self.error = error

    def state(self):
        self.join(60)
        assert self.error is None
        return self.result.state


@pytest.fixture
def begin(broker, ratings, tmp_path):
    """Return what begins an edge, ``rows`` rows a millisecond apart, or goes on with it; all are stopped at the end."""
    begun = []

    def begin_edge(name, rows=0, *, edges=EDGES, category=None, expelled=False, run="many", at="", **options):
        home = HomeSettings(home=tmp_path / f"home-{name}{at}")

        def work(stop):
            if not rows:
                return resume(run, home, broker.settings, stop, edge=name, expelled=expelled)
            file = write(tmp_path / f"{name}-{rows}.csv", rows)
            told = {"interval": Fraction(1), "start": START, "clock": "virtual", "batch_rows": 20} | options
            told |= {"contract": ratings, "files": {category or name.upper(): file}, "run": run}
            return replay(ReplayOptions(edge=name, edges=edges, **told), home, broker.settings, stop)

        begun.append(Edge(name, work))
        return begun[-1]

    yield begin_edge
    for edge in begun:
        edge.stop.set()
    for edge in begun:
        edge.join(60)


def assert_named(capfd, edge, times):
    """Assert that so many edges say in the end that they wait for this one."""
    said = []
    until(
        lambda: said.append(capfd.readouterr().err) or "".join(said).count(f"waiting for the edge {edge} of") >= times
    )


@contextmanager
def unconfirmed(listener):
    listener.confirms = False
    yield
    listener.confirms = True


def assert_exact(listener, sent, interval=1):
    """Assert that each row came, and none behind a message whose low watermark had reached it, and the end at last."""
    greatest, seen, last = -1, set(), START + (max(sent.values()) - 1) * interval
    for row in list(listener.rows):
        if row["seq"] > 0 and (row["category"], row["seq"]) not in seen:
            seen.add((row["category"], row["seq"]))
            assert row["event_time"] > greatest
        elif row["seq"] == -1:
            assert len(seen) == sum(sent.values())
            assert row["event_time"] == last
        if row["seq"] >= 0:
            greatest = max(greatest, row["low_watermark"])
    assert seen == {(category, seq) for category, rows in sent.items() for seq in range(1, rows + 1)}
    assert any(row["seq"] == -1 for row in listener.rows)


def test_all_wait_for_one_that_is_not_there_and_the_end_is_marked_when_all_are_done(listener, begin, capfd):
    first = [begin("a", 300), begin("b", 2_000)]
    assert_named(capfd, "c", times=2)
    assert not listener.rows
    assert {edge.state() for edge in [*first, begin("c", 900)]} == {"finished"}
    assert_exact(listener, {"A": 300, "B": 2_000, "C": 900})


@pytest.mark.long
def test_a_killed_edge_goes_on_elsewhere_and_a_killed_broker_costs_no_exactness(broker, listener, tmp_path):
    processes, rows = {}, 4_000

    def start(name, *arguments, home):
        environment = os.environ | {
            "STREAMPROOF_HOME": str(tmp_path / home),
            "STREAMPROOF_MQTT_PORT": str(broker.settings.port),
            "STREAMPROOF_KAFKA_SERVERS": "127.0.0.1:1",
        }
        command = [sys.executable, "-m", "edge_replayer", *arguments, "--edge", name]
        processes[name] = subprocess.Popen(command, env=environment, cwd=CHECKOUT)

    try:
        for name in EDGES:
            file = write(tmp_path / f"{name}.csv", rows)
            told = ("--edges", ",".join(EDGES), "--run", "many", "--rate", "500", "--start", "2024-01-01T00:00:00Z")
            start(name, "ratings", f"{name.upper()}={file}", *told, "--batch-rows", "20", home=name)
        until(lambda: len(listener.of("many", "C")) > 500)
        processes["c"].kill()
        processes["c"].wait()
        (tmp_path / "c").rename(tmp_path / "elsewhere")
        moved = (tmp_path / "c.csv").rename(tmp_path / "moved.csv")
        broker.stop(at_once=True)  # what it had not saved is lost: all that the edges said
        broker.start()
        start("c", "--resume", "many", f"C={moved}", home="elsewhere")
        until(lambda: len(listener.of("many", "C")) > 2_000)
        broker.stop(at_once=True)
        broker.start()
        assert [process.wait(PATIENCE) for process in processes.values()] == [0, 0, 0]
    finally:
        for process in processes.values():
            process.kill()
    assert_exact(listener, {"A": rows, "B": rows, "C": rows}, interval=2)


@pytest.mark.long
def test_an_expelled_edge_holds_the_others_back_no_longer_and_what_it_had_sent_counts(listener, begin, tmp_path):
    with unconfirmed(listener):
        c = begin("c", 30_000, in_flight=1_000)
        others = [begin("a", 500), begin("b", 700)]
        until(lambda: len(listener.of("many", "C")) >= 1_000 and len(listener.of("many", "B")) >= 700)
        c.stop.set()
    assert c.state() == "stopped"
    sent = load_run("many", HomeSettings(home=tmp_path / "home-c"), "c").rows["C"].sent
    assert 1_000 <= sent < 30_000
    assert begin("c", expelled=True).state() == "finished"
    assert {edge.state() for edge in others} == {"finished"}
    assert_exact(listener, {"A": 500, "B": 700, "C": sent})
    with pytest.raises(UsageError, match="the edge c was expelled"):
        resume("many", HomeSettings(home=tmp_path / "home-c"), edge="c")


@pytest.mark.parametrize(
    ("late", "text"),
    [
        pytest.param({"name": "d", "edges": (*EDGES, "d")}, "was told other edges", id="undeclared"),
        pytest.param({"name": "c", "interval": Fraction(2)}, "was told other edges, another pace", id="another pace"),
        pytest.param({"name": "c", "category": "A"}, "the category A is sent by the edge a as well", id="category"),
        pytest.param({"name": "a", "at": "-elsewhere"}, "a run many is being sent by another process", id="twice"),
    ],
)
@pytest.mark.long
def test_an_edge_that_is_none_of_the_run_is_refused(listener, begin, capfd, late, text):
    for name in ("a", "b"):
        begin(name, 10)
    assert_named(capfd, "c", times=2)
    wrong = begin(late.pop("name"), 11, **late)
    wrong.join(60)
    assert text in str(wrong.error)
    assert not listener.rows


@pytest.mark.long
def test_the_id_of_a_run_is_not_taken_again_though_another_machine_sent_it(listener, begin, tmp_path):
    assert {edge.state() for edge in [begin("a", 10, edges=EDGES[:2]), begin("b", 10, edges=EDGES[:2])]} == {"finished"}
    before = len(listener.rows)
    (tmp_path / "home-a").rename(tmp_path / "home-of-before")
    again = begin("a", 10, edges=EDGES[:2])
    again.join(60)
    assert "an edge a has sent a run of this id before" in str(again.error)
    assert len(listener.rows) == before


def edges_of_one_run(**options):
    return {"interval": Fraction(1), "start": START, "run": "R", "edge": "a", "edges": EDGES} | options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (edges_of_one_run(edge=None), "go together"),
        (edges_of_one_run(edges=()), "go together"),
        (edges_of_one_run(edges=("a",)), "two edges or more"),
        (edges_of_one_run(edge="d"), "none joins later"),
        (edges_of_one_run(run=None), "the same --run"),
        (edges_of_one_run(start=None), "the same --start"),
        (edges_of_one_run(confirm="broker"), "--confirm broker does not go with --edges"),
        (edges_of_one_run(to="stdout"), "--to stdout does not go with --edges"),
        (edges_of_one_run(interval=None, speed=Fraction(1)), "no edge of several knows"),
        (edges_of_one_run(loop=True), "never ends"),
    ],
)
def test_what_does_not_go_with_several_edges_is_refused(ratings, tmp_path, options, text):
    with pytest.raises(UsageError, match=text):
        ReplayOptions(contract=ratings, files={"A": tmp_path / "a.csv"}, **options)


@pytest.mark.parametrize("name", ["", "b/c", "+"])
def test_a_name_that_no_edge_can_have_is_refused(ratings, home, tmp_path, name):
    options = ReplayOptions(contract=ratings, files={"A": tmp_path / "a.csv"}, **edges_of_one_run(edges=("a", name)))
    with pytest.raises(UsageError, match="cannot be an edge's name"):
        replay(options, home)


def test_what_is_no_word_of_an_edge_is_left_alone():
    edges = Edges("a", EDGES, "plan", ["A"])
    for payload in (b"", b"\xff", b"[]", b'{"edge": "b"}', b'{"edge": 1, "plan": "", "incarnation": ""}'):
        edges.hear(payload)
    assert (edges.refusal, edges.waits_for) == ("", ["b", "c"])
