"""What the lake holds after kills, beside other writers, and of records that are no rows."""

import json
import random
import signal
import sqlite3
import subprocess
import threading
from datetime import timedelta

import duckdb
import pyarrow as pa
import pytest
from dying_in_the_lake import run_dying
from waiting import eventually, until

from streamproof.chain.ask_stages import copies_in_lake
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.sinks.kept import kept_of
from streamproof.sinks.lake.copies import complete_to
from streamproof.sinks.lake.live import store_all
from streamproof.sinks.lake.records import OVER
from streamproof.sinks.lake.tables import TABLES
from streamproof.sinks.lake.upkeep import compact, expire_snapshots, remove_lost_files
from streamproof.sinks.target import FencedError
from validation.stages import Stages
from validation.verdict import validate

pytestmark = pytest.mark.xdist_group("lake")

ROWS = 3000
KILLED = -signal.SIGKILL


def right(lake):
    found = lake.check()
    assert found.is_right, found
    assert {copy.right for copy in found.copies.values()} == {ROWS}
    assert {copy.doubled for copy in found.copies.values()} == {0}


def kill_and_go_on(lake, moments):
    codes = [lake.sink_that_dies(moment) for moment in moments]
    assert set(codes) <= {0, KILLED}
    assert lake.sink_that_dies() == 0
    right(lake)
    return codes.count(KILLED)


def test_each_copy_has_every_row_once_with_what_the_file_says(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    right(lake)
    assert all(complete_to(copy.low_watermarks, lake.id, copy.partitions) == OVER for copy in lake.copies())


def test_a_writer_killed_between_files_and_commits_leaves_nothing_out_and_nothing_twice(new_lake_run):
    assert kill_and_go_on(new_lake_run(ROWS), [14, 33, 60]) == 3


@pytest.mark.long
def test_a_writer_killed_at_many_moments_leaves_nothing_out_and_nothing_twice(new_lake_run):
    chance = random.Random(5)
    lake = new_lake_run(ROWS)
    assert kill_and_go_on(lake, [chance.randrange(1, 90) for _ in range(30)]) > 5


@pytest.mark.parametrize(
    "moments", [[2, 6, 9], pytest.param([*range(1, 40, 2)], marks=pytest.mark.long)], ids=["three", "many"]
)
def test_a_kill_during_compaction_changes_no_row(new_lake_run, moments):
    lake = new_lake_run(ROWS)
    lake.store()
    held = [copy.held for copy in lake.copies()]
    codes = [run_dying(["lake", "tidy"], moment) for moment in moments]
    assert KILLED in codes
    assert set(codes) <= {0, KILLED}
    assert run_dying(["lake", "tidy"]) == 0
    assert [copy.held for copy in lake.copies()] == held
    assert all(len(list(copy.table.scan().plan_files())) <= 4 for copy in lake.copies())
    right(lake)


def test_a_writer_goes_on_behind_what_was_compacted_and_expired(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    for copy in lake.copies():
        compact(copy)
        expire_snapshots(copy, keep=1)
        assert len(copy.table.refresh().snapshots()) == 1
        assert remove_lost_files(copy.table, timedelta(0)) > 0
    assert lake.store() == 0
    right(lake)


def test_lost_files_stay_while_they_may_belong_to_a_commit_under_way(new_lake_run):
    lake = new_lake_run(ROWS)
    assert lake.sink_that_dies(14) == KILLED
    copy = lake.copies()[0]
    assert remove_lost_files(copy.table) == 0
    assert remove_lost_files(copy.table, timedelta(0)) > 0
    lake.store()
    right(lake)


def test_a_second_writer_is_refused_by_the_catalogue(new_lake_run):
    lake = new_lake_run(ROWS)
    second = lake.target()
    second.places()
    lake.store()
    with pytest.raises(FencedError, match="another writer has written to it"):
        second.store(second.encode([]), {}, {(lake.contract.topics.rows, 0): 10})
    right(lake)


def test_a_snapshot_that_somebody_else_has_written_is_an_error_that_names_it(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    table = lake.copies()[0].table
    table.append(table.scan(limit=1).to_arrow())
    with pytest.raises(StreamproofError, match="somebody else has written"):
        lake.store()


def test_rows_are_compacted_between_the_commits_of_a_writer_without_refusing_it(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    target = lake.target()
    target.places()
    for copy in lake.copies():
        compact(copy)
    lake.write(b"later")
    topic = lake.contract.topics.rows
    ends = {place: offset + (place == (topic, 0)) for place, offset in target._copies["raw"].held.items()}
    target.store(target.encode([]), {}, ends)
    assert all(copy.held == ends for copy in lake.copies())


def test_files_that_were_rewritten_meanwhile_are_not_rewritten_again(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    first, second = lake.copies(), lake.copies()
    assert all(compact(copy) > 0 for copy in first)
    assert not any(compact(copy) for copy in second)
    right(lake)


def test_what_is_no_row_is_in_raw_and_backup_and_dead_letters_are_in_backup(new_lake_run):
    lake = new_lake_run(ROWS)
    bad = [b"no json", b"\xff\xfe", b'{"run": 1}', b'{"run":"x","seq":"one"}', b"[1]", b"", b'{"run":"x"}\n{"run":"y"}']
    of_a_long_name = json.dumps({"run": "x", "category": "漢" * 100, "seq": 1}, ensure_ascii=False).encode()
    lake.write(*bad, of_a_long_name)
    letter = {"reason": "r", "run": lake.id, "category": "Books", "seq": 3, "payload": "x"}
    lake.write(json.dumps(letter).encode(), topic=lake.contract.topics.dead_letters)
    lake.store()
    right(lake)
    assert lake.check().dead_letters == 1
    sql = duckdb.connect().sql  # the default connection may be at something that another test has left
    raw, processed, backup = (copy.table.scan().to_arrow() for copy in lake.copies())  # noqa: RUF059 - found by its name
    assert sorted(sql("SELECT value FROM backup WHERE run IS NULL").fetchall()) == sorted((b,) for b in bad)
    assert sql("SELECT count(*), count(value) FROM raw WHERE run IS NULL").fetchall() == [(7, 6)]
    assert len(processed) == ROWS + 1
    assert sql("SELECT count(*) FROM backup WHERE topic LIKE '%dead%'").fetchall() == [(1,)]
    assert len(raw) == ROWS + 1 + len(bad)


def test_a_wrong_a_missing_and_a_doubled_row_are_found(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    copy = lake.copies()[1]
    rows = copy.table.scan().to_arrow()
    one, rest = rows.slice(0, 1), rows.slice(2)
    wrong = one.set_column(one.schema.get_field_index("user_id"), "user_id", pa.array(["nobody"], pa.large_string()))
    changed = pa.concat_tables([wrong, rest, rest.slice(0, 1)])
    copy.table.overwrite(changed, snapshot_properties=copy.properties(copy.held, {}))
    found = lake.check()
    processed = found.copies["processed"]
    assert (processed.right, processed.wrong, processed.missing, processed.doubled) == (ROWS - 2, 1, 1, 1)
    assert not found.is_right
    assert found.copies["raw"].right == ROWS
    assert found.differing == 2
    gone = rows.slice(1, 1).to_pylist()[0]
    assert processed.first_missing == [(gone["category"], gone["seq"], gone["seq"])]


def test_a_table_of_another_contract_is_refused(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    fields = {name: field for name, field in lake.contract.fields.items() if name != "rating"}
    lake.contract = lake.contract.model_copy(update={"fields": fields})
    with pytest.raises(UsageError, match="other columns than the contract: rating"):
        lake.store()


def test_the_lake_is_shown_as_it_was_at_a_snapshot(new_lake_run):
    lake = new_lake_run(ROWS)
    lake.store()
    raw = lake.copies()[0].table
    first = min(raw.snapshots(), key=lambda snapshot: snapshot.timestamp_ms)
    found = lake.check(at=first.snapshot_id)
    assert 0 < found.copies["raw"].right < ROWS
    assert found.copies["processed"].right == found.copies["raw"].right
    with pytest.raises(UsageError, match="no table has a snapshot 7"):
        lake.check(at=7)


def test_the_verdict_reads_the_lake_back_and_names_what_is_not_right_there(new_lake_run):
    lake = new_lake_run(ROWS)
    kept_in_lake = Stages(copies=copies_in_lake)
    assert validate(lake.id, HomeSettings(), KafkaSettings(), stages=kept_in_lake).copies is None
    assert lake.sink_that_dies() == 0
    verdict = validate(lake.id, HomeSettings(), KafkaSettings(), stages=kept_in_lake)
    assert {name: copy.right for name, copy in verdict.copies.copies.items()} == dict.fromkeys(TABLES, ROWS)
    assert not any("the lake" in reason for reason in verdict.reasons)
    backup = lake.copies()[2]
    backup.table.overwrite(
        backup.table.scan(row_filter="seq != 7").to_arrow(), snapshot_properties=backup.properties(backup.held, {})
    )
    reasons = validate(lake.id, HomeSettings(), KafkaSettings(), stages=kept_in_lake).reasons
    assert any("backup: 2 rows are missing, Books 7 to 7, Music 7 to 7" in reason for reason in reasons)


def test_all_streams_with_runs_are_stored_until_the_end(new_lake_run):
    lakes = [new_lake_run(1000), new_lake_run(1000)]
    stop = threading.Event()
    storing = threading.Thread(target=store_all, args=(stop,))
    storing.start()
    try:
        eventually(lambda: [lake.check() for lake in lakes])
        assert until(lambda: all(lake.check().is_right for lake in lakes), look=1)
    finally:
        stop.set()
        storing.join()
    assert all([kept.kind for kept in kept_of(lake.run)] == ["lake"] for lake in lakes)


@pytest.fixture
def said(monkeypatch):
    """Return what a sink says."""
    lines = []
    monkeypatch.setattr("streamproof.sinks.sink._say", lines.append)
    return lines


def test_a_catalogue_that_is_away_is_waited_for(new_lake_run, said):
    lake = new_lake_run(ROWS)
    stored = []
    sink = lake.sink()
    catalogue = sqlite3.connect(HomeSettings().home / "lake" / "catalogue.db", isolation_level=None)
    catalogue.execute("BEGIN EXCLUSIVE")
    storing = threading.Thread(target=lambda: stored.append(sink.run(threading.Event(), lambda: True)))
    storing.start()
    until(lambda: any("trying again" in line for line in said))
    catalogue.rollback()
    storing.join()
    assert stored[0] >= ROWS
    assert any("answers again" in line for line in said)
    right(lake)


def test_a_full_disk_is_waited_for_and_nothing_is_lost(new_lake_run, said, tmp_path, monkeypatch):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        monkeypatch.setenv("STREAMPROOF_LAKE_WAREHOUSE", f"file://{tmp_path}/lake")
        lake = new_lake_run(ROWS)
        storing = threading.Thread(target=lake.store)
        storing.start()
        until(lambda: any("No space left" in line for line in said))
        subprocess.run(["mount", "-o", "remount,size=100m", tmp_path], check=True)
        storing.join()
        right(lake)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
