"""A part that is away is known to be away within five seconds, however it went, and back when it is back."""

import threading
import time

import pytest

from streamproof.chain.health import Answer, Questions, Watch

SECONDS = 4.0  # the page is renewed each second


def up(_run):
    return Answer(is_up=True, says="answers", figures=(("rows", "5"),))


@pytest.fixture
def watched():
    started = []

    def watch(works, details=None):
        watch = Watch({"part": Questions(works, details), "other": Questions(up)}, lambda: None)
        watch.start()
        started.append(watch)
        return watch

    yield watch
    for watch in started:
        watch.stop()


def until(watch, is_up, seconds=SECONDS, says=None):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (part := watch.parts()["part"]).is_up is is_up and says in {None, part.says}:
            return part
        time.sleep(0.05)
    raise AssertionError(watch.parts())


def test_a_part_that_refuses_is_away_and_comes_back(watched):
    refuses = threading.Event()

    def works(run):
        if refuses.is_set():
            raise ConnectionError("refused")
        return up(run)

    watch = watched(works)
    since = until(watch, True).since
    refuses.set()
    part = until(watch, False)
    assert (part.says, part.figures) == ("refused", (("rows", "5"),))
    assert part.since > since
    refuses.clear()
    assert until(watch, True).says == "answers"


def test_a_part_that_hangs_is_away_and_hides_no_other(watched):
    hangs, goes_on = threading.Event(), threading.Event()

    def works(run):
        if hangs.is_set():
            goes_on.wait(30)
        return up(run)

    watch = watched(works)
    until(watch, True)
    hangs.set()
    assert until(watch, False, SECONDS + 1).says.startswith("no answer for ")
    assert watch.parts()["other"].is_up
    hangs.clear()
    goes_on.set()
    until(watch, True)


def test_a_part_that_answers_but_does_not_do_its_work_is_away(watched):
    part = until(watched(up, lambda _run: Answer(is_up=False, says="has no flow")), False)
    assert part.says == "has no flow"


def test_what_details_say_stands_first(watched):
    watch = watched(up, lambda _run: Answer(is_up=True, says="flow running", figures=(("queued", "0"),)))
    part = until(watch, True, says="flow running")
    assert (part.says, part.figures) == ("flow running", (("queued", "0"), ("rows", "5")))
