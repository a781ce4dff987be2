"""An alerter whose Kafka client never answers; a stand-in for it, as the real one does so at a rare moment only."""

import subprocess
import sys

_STUCK = """
import threading
from types import SimpleNamespace
import streamproof.alerts.__main__ as alerts

class StuckAlerter:
    def __init__(self, *_):
        pass

    def step(self, _):
        threading.Event().wait()

record = SimpleNamespace(label="j", contract=None, flink_ids=["f"], state="running")
header = SimpleNamespace(alert="a")
question = SimpleNamespace(name="q", tally_topic=lambda _: "t", scored=None, model=None, header=header)
alerts.Alerter, alerts._STUCK_S = StuckAlerter, 0.5
alerts.open_jobs = lambda: [(record, question)]
alerts.topics_of = lambda _: {"t"}
alerts.find_record = lambda _: record
alerts.main()
"""


def test_an_alerter_that_kafka_s_client_leaves_waiting_ends_so_that_the_supervisor_starts_another(tmp_path):
    home = {"STREAMPROOF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _STUCK], check=False, env=home, capture_output=True, text=True)
    assert done.returncode == 1
    assert "has given no answer" in done.stderr
    assert "Traceback" not in done.stderr
