"""The dashboard of the shop asks for what the sink's views have, as a user who can only read."""

import json

import psycopg
import pytest
import yaml
from checkout import CHECKOUT

from streamproof.core.contract import load_contract
from streamproof.core.question import load_question
from streamproof.core.settings import HomeSettings, PostgresSettings
from streamproof.sinks.postgres import Postgres
from streamproof.sinks.tables import Catalogue, Rows, alerts_table, answers_table

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
DASHBOARD = json.loads((CHECKOUT / "grafana" / "shop.json").read_text())
SOURCES = yaml.safe_load((CHECKOUT / "grafana" / "datasource.yaml").read_text())["datasources"]
QUERIES = {panel["title"]: panel["targets"][0]["rawSql"] for panel in DASHBOARD["panels"]}
QUERIES["run"] = DASHBOARD["templating"]["list"][0]["query"]


@pytest.fixture(scope="module")
def reader(own_servers):  # noqa: ARG001 - whose settings are the environment
    """Make the views of the shop's questions and the role that Grafana has; connect as that role."""
    dsn = PostgresSettings().connection(HomeSettings())
    target = Postgres(dsn, "live", Catalogue(None), lambda _: None)
    contract = load_contract("purchases")
    tables = [answers_table(load_question(name), contract) for name in ("sales", "conversion", "sales_by_city")]
    tables.append(alerts_table(load_question("conversion"), contract))
    target.store(([(Rows(table, [[] for _ in table.columns], [None]), "") for table in tables], []), {}, {})
    target.close()
    with psycopg.connect(dsn.get_secret_value()) as db:
        for statement in COMPOSE["configs"]["postgres"]["content"].splitlines():
            db.execute(statement)
    (source,) = (each for each in SOURCES if each["uid"] == "postgres")
    as_reader = {"user": source["user"], "password": source["secureJsonData"]["password"]}
    with psycopg.connect(dsn.get_secret_value(), **as_reader, autocommit=True) as db:
        yield db


@pytest.mark.parametrize("name", QUERIES)
def test_each_query_runs(reader, name):
    sql = QUERIES[name].replace("${run}", "r").replace("$__timeFilter(", "(now() > ")
    assert reader.execute(sql).fetchall() == []


def test_who_reads_can_change_nothing(reader):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("DELETE FROM streamproof_places")


def test_every_panel_asks_the_database():
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"postgres"}
