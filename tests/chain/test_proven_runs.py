"""Runs through Mosquitto, NiFi, Kafka and Flink, judged against the files alone."""

import random
import threading
from collections import Counter
from fractions import Fraction
from itertools import islice

import pytest

from streamproof.core.contract import load_contract, parse_contract
from streamproof.core.duration import parse_duration

START = 1_704_067_200_000  # 2024-01-01T00:00:00Z, a boundary of every shape below


@pytest.mark.long
def test_two_categories_are_proven_in_tumbling_short_and_long_windows(chain):
    files = {name: chain.sample(name, 3000) for name in ("Movies_and_TV", "Home_and_Kitchen")}
    run = chain.new_run("shapes")
    jobs = [chain.submit(shape, run) for shape in ("10s/10s", "30s/5s")]
    chain.replay(run, files, interval=parse_duration("1s"), start=START)
    jobs.append(chain.submit("10min/1min", run))  # also behind the run's end
    for job in jobs:
        verdict = chain.assert_proven(run, job)
        assert verdict.rows.sent == verdict.rows.kafka == 6000


@pytest.mark.long
def test_three_questions_of_one_job_are_proven_in_sliding_tumbling_and_cumulative_windows(chain):
    # Few users and products, so that windows hold several rows of one, and users that come again.
    chance = random.Random(1)
    rows = "".join(
        f"U{chance.randrange(5)},P{chance.randrange(3)},{chance.randrange(2, 11) / 2},{n}\n" for n in range(3000)
    )
    (chain.folder / "few.csv").write_text(rows)
    run, questions = chain.new_run("questions"), ["rating_averages", "rating_spread", "rating_histogram"]
    shapes = ("30s/5s", "10s/10s", "cumulative 1min/10s", "cumulative 1h/10min")
    jobs = [chain.submit(shape, run, questions=questions, parallelism=1) for shape in shapes]
    chain.replay(run, {"Few": chain.folder / "few.csv"}, interval=parse_duration("1s"), start=START + 3750)
    for job in jobs:
        verdict = chain.assert_proven(run, job)
        assert sorted(verdict.questions) == sorted(questions)
        assert {answers.job for answers in verdict.questions.values()} == {job}
    assert {answers.kind for answers in verdict.questions.values()} == {"cumulative"}


@pytest.mark.long
def test_an_interval_of_1003_ms_from_3750_ms_past_a_boundary_is_proven(chain):
    run = chain.new_run("odd")
    chain.replay(run, {"Odd": chain.sample("odd", 250)}, interval=parse_duration("1.003s"), start=START + 3750)
    verdict = chain.assert_proven(run, chain.submit("30s/5s", run))
    assert verdict.rows.sent == 250


@pytest.mark.long
def test_real_files_are_proven_by_their_own_time_without_a_contract_of_their_own(chain, shared_data):
    run = chain.new_run("real")
    files = {"Electronics": "ratings_Electronics.csv", "Instruments": "Musical_Instruments_5.csv"}
    chain.replay(run, {category: shared_data / name for category, name in files.items()}, speed=Fraction(1))
    verdict = chain.assert_proven(run, chain.submit("7d/1d", run))
    assert {category: rows.sent for category, rows in verdict.categories.items()} == {
        "Electronics": 50_698,
        "Instruments": 10_261,
    }


@pytest.mark.long
def test_a_real_file_in_milliseconds_is_proven_with_a_contract_file_of_its_own(chain, shared_data):
    data = load_contract("ratings").model_dump(mode="json", exclude={"topics"})
    data["fields"]["timestamp"]["unit"] = "ms"
    contract = parse_contract(data, "beauty.toml")
    run = chain.new_run("beauty")
    chain.replay(run, {"Beauty": shared_data / "All_Beauty_2023.csv"}, contract, speed=Fraction(1))
    verdict = chain.assert_proven(run, chain.submit("30d/1d", run, contract))
    assert verdict.rows.sent == 2535


@pytest.fixture(scope="module")
def small_files(shared_chain):
    """The proven run of two small files, by their own time."""
    chain, folder = shared_chain, shared_chain.folder
    second = START // 1000
    edge = [("0000143502", 1.0, second), ("000107461X", 2.5, second + 30), ("0000143502", 2.0, second + 29)]
    (folder / "bad.csv").write_bytes(
        b"A1,P1,5.0,1700000000\nA2,P1,abc,1700000001\nA3,,4.0,1700000002\n\xff\xfe,P1,4.0,1700000003\nA5,P1,3.0,1700000004\nA6,P1"
    )
    run = chain.new_run("small")
    files = {"Edge": chain.file("edge", edge), "Bad": folder / "bad.csv"}
    replayed = chain.replay(run, files, speed=Fraction(1))
    chain.assert_proven(run, chain.submit("30s/5s", run))
    return chain, replayed


def test_ids_stay_text_and_a_row_on_an_edge_is_in_the_windows_that_begin_there(small_files):
    chain, replayed = small_files
    # The rows at 0 s and 29 s share one window; each row is in six: 6 + 6 - 1, and 6 of the other product.
    windows = list(islice(chain.windows_of(replayed.run, "Edge"), 17))
    assert Counter(window["product_id"] for window in windows) == {"0000143502": 11, "000107461X": 6}
    assert min(w["window_start"] for w in windows if w["product_id"] == "000107461X") == "2024-01-01T00:00:05Z"


@pytest.mark.long
def test_runs_whose_clocks_lie_years_apart_are_both_proven_side_by_side_in_one_topic(chain):
    runs = {chain.new_run("now"): START, chain.new_run("then"): START - 10 * 365 * 86_400_000}
    file = chain.sample("interleaved", 3000)
    jobs = {run: chain.submit("30s/5s", run) for run in runs}
    threads = [
        threading.Thread(
            target=chain.replay,
            args=(run, {"Books": file}),
            kwargs={"interval": parse_duration("1s"), "start": start, "batch_rows": 20},
        )
        for run, start in runs.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run, job in jobs.items():
        assert chain.assert_proven(run, job).rows.sent == 3000


@pytest.mark.long
def test_a_category_that_is_silent_for_minutes_is_waited_for_by_nobody_and_all_are_proven(chain):
    second = START // 1000
    files = {
        "Busy": chain.file("busy", [("P1", 4.0, second + n) for n in range(900)]),
        "Silent": chain.file("silent", [("P2", 3.0, second), ("P2", 5.0, second + 899)]),
    }
    # On a busy machine the first window may need longer than the silence lasts at the first speed.
    assert any(_is_first_window_there_before_the_end(chain, files, speed) for speed in (45, 5))


def _is_first_window_there_before_the_end(chain, files, speed):
    run = chain.new_run("silent")
    job = chain.submit("30s/5s", run)
    options = {"speed": Fraction(speed), "clock": "wall"}
    replaying = threading.Thread(target=chain.replay, args=(run, files), kwargs=options)
    replaying.start()
    first = next(chain.windows_of(run, "Busy"))
    was_silent = replaying.is_alive()
    assert first["product_id"] == "P1"
    replaying.join()
    chain.assert_proven(run, job)
    return was_silent


def test_lines_that_do_not_fit_are_rejected_and_the_rest_is_proven(small_files):
    chain, replayed = small_files
    assert (replayed.rows["Bad"].sent, replayed.rows["Bad"].rejected) == (2, 4)
    rejects = (chain.servers.home.runs / replayed.run / "rejects-Bad.csv").read_text()
    assert [line.split(",")[0] for line in rejects.splitlines()[1:]] == ["2", "3", "4", "6"]
