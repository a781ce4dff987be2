"""A lake on S3, with a catalogue of Glue's or of another database; and what is wrong with the settings."""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from free_ports import free_ports
from moto.server import ThreadedMotoServer
from pydantic import SecretStr
from typer.testing import CliRunner
from waiting import eventually

from streamproof.cli import app
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import HomeSettings
from streamproof.sinks.lake.catalogue import LakeSettings, name_of, open_catalogue

pytestmark = pytest.mark.xdist_group("lake")

ROWS = 2000
KEY = "a-key-that-nobody-may-see"


@pytest.fixture(scope="module")
def s3():
    """Start what answers like Amazon's S3 and Glue; return its address."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key=KEY
    )
    client.create_bucket(Bucket="bucket")
    yield address
    server.stop()


@pytest.fixture
def on_s3(s3, own_kafka, monkeypatch):  # noqa: ARG001
    for name, value in {
        "WAREHOUSE": "s3://bucket/lake", "S3_ENDPOINT": s3, "S3_REGION": "us-east-1", "S3_ACCESS_KEY": "k",
        "S3_SECRET_KEY": KEY,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"STREAMPROOF_LAKE_{name}", value)
    return monkeypatch


@pytest.mark.long
@pytest.mark.parametrize("catalogue", ["", "glue"])
def test_a_lake_on_s3_holds_every_row_and_is_asked_and_tidied_like_one_on_disk(on_s3, s3, new_lake_run, catalogue):
    on_s3.setenv("STREAMPROOF_LAKE_CATALOG", catalogue)
    on_s3.setenv("STREAMPROOF_LAKE_GLUE_ENDPOINT", s3)
    lake = new_lake_run(ROWS)
    lake.store()
    assert lake.check().is_right
    runner = CliRunner()
    asked = runner.invoke(
        app, ["lake", "sql", f"SELECT count(*) AS n FROM {lake.stream}.{lake.stream}", "--format", "csv"]
    )
    assert asked.stdout == f"n\n{ROWS}\n"
    tidied = runner.invoke(app, ["lake", "tidy", "--older-than", "1ms"])
    assert tidied.exit_code == 0
    assert "files fewer" in tidied.stderr
    assert lake.check().is_right
    assert lake.store() == 0


@pytest.fixture(scope="module")
def rest_catalogue(tmp_path_factory):
    """Start SeaweedFS, which is an S3 and a REST catalogue; return both addresses."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    s3, rest, *others = free_ports(8)
    identity = {
        "name": "admin", "credentials": [{"accessKey": "k", "secretKey": KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }  # fmt: skip
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    named = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = [f"-{name}={port}" for name, port in zip(named, others, strict=True)]
    command = [
        Path(sys.executable).with_name("weed"), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}", f"-s3.port.iceberg={rest}", *ports,
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            buckets = boto3.client(
                "s3tables", endpoint_url=f"http://127.0.0.1:{s3}", region_name="us-east-1", aws_access_key_id="k",
                aws_secret_access_key=KEY, config=Config(retries={"max_attempts": 1}),
            )  # fmt: skip
            eventually(lambda: buckets.create_table_bucket(name="lakehouse"), look=1)
            yield f"http://127.0.0.1:{s3}", f"http://127.0.0.1:{rest}"
        finally:
            server.kill()
            server.wait()


@pytest.mark.long
def test_a_lake_with_a_rest_catalogue_holds_every_row_and_is_tidied(rest_catalogue, monkeypatch, new_lake_run):
    s3, rest = rest_catalogue
    for name, value in {
        "CATALOG": rest, "CREDENTIAL": f"k:{KEY}", "WAREHOUSE": "s3://lakehouse/", "S3_ENDPOINT": s3,
        "S3_REGION": "us-east-1", "S3_ACCESS_KEY": "k", "S3_SECRET_KEY": KEY,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"STREAMPROOF_LAKE_{name}", value)
    lake = new_lake_run(ROWS)
    lake.store()
    assert lake.check().is_right
    tidied = CliRunner().invoke(app, ["lake", "tidy", "--older-than", "1ms"])
    assert tidied.exit_code == 0, tidied.stderr
    assert lake.check().is_right
    assert lake.store() == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"catalog": "mysql://me:hush@db/x"}, r"STREAMPROOF_LAKE_CATALOG=mysql…: expected postgresql://"),
        ({"catalog": "glu"}, "expected postgresql://"),
    ],
)
def test_a_catalogue_of_no_known_kind_is_an_error_that_names_the_kinds(tmp_path, settings, says):
    with pytest.raises(UsageError, match=says) as error:
        open_catalogue(LakeSettings(**settings), HomeSettings(home=tmp_path))
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("catalog", ["postgresql://me:hush@127.0.0.1:1/x", "http://127.0.0.1:1"])
def test_a_catalogue_that_does_not_answer_is_an_error_without_its_password(tmp_path, catalog):
    settings = LakeSettings(catalog=catalog, credential=SecretStr("key:hush"))
    with pytest.raises(StreamproofError, match="cannot be opened") as error:
        open_catalogue(settings, HomeSettings(home=tmp_path))
    assert "hush" not in str(error.value)
    assert "hush" not in repr(settings)
    assert name_of(settings, HomeSettings(home=tmp_path)) == f"the lake {tmp_path / 'lake'}"
