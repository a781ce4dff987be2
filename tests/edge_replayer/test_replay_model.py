"""Delivery and low watermarks as a model of which SPIN looks at every state (docs/delivery.md, "As a model")."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("delivery.pml")
LONG = pytest.mark.long
TWO_EDGES = ("-DEDGES=2", "-DROWS=1")
TWO_EDGES_TWO_ROWS = ("-DEDGES=2", "-DROWS=2")
ONE_EDGE = ("-DEDGES=1", "-DROWS=3")
A_JOB = ("-DEDGES=1", "-DROWS=2", "-DJOB", "-DLOG=3")
A_JOB_AND_COPIES = ("-DEDGES=1", "-DROWS=2", "-DJOB", "-DLOG=4")

pytestmark = pytest.mark.skipif(
    not shutil.which("spin") or not shutil.which("gcc"),
    reason="SPIN or the C compiler that it needs is not installed: apt-get install spin gcc",
)


def look_at_every_state(folder: Path, *model: str, optimised: tuple[str, ...] = ("-O0",)) -> str:
    """What SPIN's checker printed, which stops at the first state that must not be."""
    compile_ = ("gcc", *optimised, "-w", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=4000", "-o", "pan", "pan.c")
    for command in (("spin", *model, "-a", str(MODEL)), compile_):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return subprocess.run(("./pan", "-m1000000"), cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("model", "states"),
    [
        pytest.param(TWO_EDGES, 25_637, id="two edges"),
        pytest.param(A_JOB, 104_950, id="one edge and the job"),
        pytest.param(ONE_EDGE, 244_980, id="one edge", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, 2_487_103, id="one edge, the job and more copies", marks=LONG),
        pytest.param(TWO_EDGES_TWO_ROWS, 3_689_852, id="two edges of two rows", marks=LONG),
    ],
)
def test_no_state_has_a_window_closed_over_a_row_that_is_to_come_or_a_wrong_answer(tmp_path, model, states):
    said = look_at_every_state(tmp_path, *model, optimised=("-O0",) if states < 200_000 else ("-O2", "-DCOLLAPSE"))
    assert "Full statespace search" in said
    assert "errors: 0" in said
    assert not re.search("too small|truncated|out of memory|Bit statespace|hash-compact|not completed", said)
    assert re.search(r"(\d+) states, stored", said)[1] == str(states)


@pytest.mark.parametrize(
    ("model", "mutant"),
    [
        pytest.param(TWO_EDGES, "ENDS_ALONE", id="own end mark too early"),
        pytest.param(TWO_EDGES, "OTHERS_PLUS_ONE", id="another's low watermark one too high", marks=LONG),
        pytest.param(TWO_EDGES, "NO_WAITING", id="a timeout for the idle", marks=LONG),
        pytest.param(TWO_EDGES, "LATE_JOINER", id="a late joiner", marks=LONG),
        pytest.param(TWO_EDGES, "ID_USED_AGAIN", id="a run's id used again", marks=LONG),
        pytest.param(TWO_EDGES, "ONE_ROW_TOO_HIGH", id="own low watermark one row too high", marks=LONG),
        pytest.param(TWO_EDGES, "FORGETS_UNCONFIRMED", id="what was sent counts when going on", marks=LONG),
        pytest.param(TWO_EDGES, "BROKER_CONFIRMS", id="the broker's word counts", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "ONE_ROW_TOO_HIGH", id="the same, by the answers", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "FORGETS_UNCONFIRMED", id="the same of going on", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "BROKER_CONFIRMS", id="the same of the broker", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "MARKS_ONE_PARTITION", id="marks in one partition", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "GREATEST_LEADS", id="the greatest watermark of a partition leads", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "COPIES_COUNT", id="copies count", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "CLOSED_IS_FORGOTTEN", id="closed windows open again", marks=LONG),
        pytest.param(A_JOB_AND_COPIES, "ANSWERS_AT_ONCE", id="answers outside of transactions", marks=LONG),
        pytest.param(A_JOB, "END_MARKED_ONCE", id="the end marked once", marks=LONG),
    ],
)
def test_with_one_rule_left_out_a_state_is_wrong(tmp_path, model, mutant):
    said = look_at_every_state(tmp_path, *model, f"-DMUTANT={mutant}")
    assert "assertion violated" in said
    assert "errors: 1" in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "what"),
    [
        (TWO_EDGES, "END_MARKED"),
        (TWO_EDGES, "OLDER_WORDS"),
        (TWO_EDGES, "OLD_MANIFEST"),
        (ONE_EDGE, "ROWS_REORDERED"),
        (A_JOB_AND_COPIES, "A_ROW_TWICE"),
        (A_JOB_AND_COPIES, "MESSAGE_LOST"),
        (A_JOB_AND_COPIES, "COPY_IN_TIME"),
        (A_JOB_AND_COPIES, "LATE_COPY"),
        (A_JOB_AND_COPIES, "ANSWER_UNDONE"),
        (A_JOB_AND_COPIES, "MARKED_AGAIN"),
        (A_JOB_AND_COPIES, "ALL_ANSWERED"),
    ],
)
def test_each_kind_of_fault_and_the_end_are_among_the_states(tmp_path, model, what):
    said = look_at_every_state(tmp_path, *model, f"-DREACH={what}")
    number = re.search(rf"^#define {what} (\d+)", MODEL.read_text(), re.MULTILINE)[1]
    assert f"assertion violated (({number}!={number})" in said
