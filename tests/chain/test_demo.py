"""The main job itself, on servers that run already."""

from flink_jobs.cluster import Cluster
from streamproof.demo import run_demo


def test_the_demo_proves_40_000_generated_rows_and_leaves_the_servers_and_no_job(deployed_servers, capsys):
    run_demo([], deployed_servers.home.home / "nifi" / "python_extensions")
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "PROVEN"
    # Fitting, sent, in Kafka and read by Flink, for both categories; NiFi may have received copies as well.
    assert printed.count("20,000") >= 2 * 4
    assert not [job for job in Cluster().list() if job.state == "RUNNING"]


def test_the_demo_takes_files_of_ones_own(deployed_servers, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text(
        "user,asin,overall,Time\nA1,0000143502,4.0,1700000000\nA2,000107461X,2.0,1700000001\n"
    )
    run_demo([f"Mine={tmp_path / 'mine.csv'}"], deployed_servers.home.home / "nifi" / "python_extensions")
    assert "PROVEN" in capsys.readouterr().out.splitlines()
