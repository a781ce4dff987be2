"""What a question's text may hold: read by DuckDB's own parser, before anything runs."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

import duckdb

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError
from streamproof.core.message import ENVELOPE
from streamproof.core.question import Engine, Question

_OTHER_EACH_TIME = {
    *("now", "today", "proctime", "current_date", "current_time", "current_timestamp", "current_row_timestamp"),
    *("localtime", "localtimestamp", "transaction_timestamp", "current_localtime", "current_localtimestamp"),
    *("rand", "random", "rand_integer", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "setseed", "nextval", "currval"),
    *("unix_timestamp", "current_watermark", "get_current_time", "get_current_timestamp", "current_setting"),
    *("current_database", "current_user", "version", "txid_current"),
}
"""Functions, and the names that SQL has for them, that answer differently each time or each place."""

_OF_ARRIVAL = {
    *("listagg", "string_agg", "group_concat", "array_agg", "list", "collect", "first_value", "last_value", "first"),
    *("last", "any_value", "arg_min", "arg_max", "min_by", "max_by", "mode"),
}
"""Aggregates whose answer depends on the order in which rows come."""

_OF_WINDOWS = ("window_start", "window_end", "window_time")

Node = dict[str, Any]


def used_fields(question: Question, fields: Iterable[str]) -> list[str]:
    """Return those of a contract's fields that a question may read, in their order; all, where it says ``*``."""
    trees = _trees(question, "flink", strict=False)
    nodes = [node for tree in trees.values() for node in _nodes(tree)]
    names = {name.lower() for node in nodes if node.get("type") == "COLUMN_REF" for name in node["column_names"]}
    if "" not in trees or any(_reads_all(node) for node in nodes):
        return list(fields)
    return [name for name in fields if name in names]


def check_text(question: Question, contract: Contract) -> None:
    """Refuse what cannot have one answer, or reads anything but the question's rows.

    Raises:
        UsageError: with a line for each rule that is broken.

    """
    if contract.name != question.header.stream and not set(used_fields(question, contract.fields)):
        raise UsageError(f"{question.name}: none of its columns is a field of the stream {contract.name}")
    known = {"windowed", *(view.name for view in question.views("batch"))} | (
        {"again"} if question.header.again else set()
    )
    broken = []
    trees = _trees(question, "batch", strict=True)
    relations = {name: tree["node"] for name, tree in trees.items()}
    for tree in trees.values():
        nodes = list(_nodes(tree))
        selects = {entry["key"]: entry["value"]["query_node"] for node in nodes for entry in _ctes(node)}
        relations |= selects
        tables = {node["table_name"] for node in nodes if node.get("type") == "BASE_TABLE"}
        if foreign := tables - known - set(selects):
            broken.append(
                f"it reads {min(foreign)!r}: only windowed, views of the file, and again where the header has [again], "
                "can be read"
            )
        if any(node.get("type") == "TABLE_FUNCTION" for node in nodes):
            broken.append("it calls a table function: only windowed, and views of the file, can be read")
        called = {node["function_name"].lower() for node in nodes if "function_name" in node}
        named = {node["column_names"][-1].lower() for node in nodes if node.get("type") == "COLUMN_REF"}
        if changing := _OTHER_EACH_TIME & (called | (named - set(contract.fields) - set(ENVELOPE))):
            broken.append(
                f"{min(changing).upper()} answers differently each time, and the batch is run at another time: use the "
                "rows' own times (event_time, window_end)"
            )
        aggregates = {node["function_name"].lower() for node in nodes if node.get("class") == "FUNCTION"}
        if unordered := _OF_ARRIVAL & aggregates:
            broken.append(
                f"{min(unordered).upper()} answers by the order in which rows come, which is another in each run: use "
                "MIN or MAX, or rank rows with ROW_NUMBER"
            )
        if any(node.get("class") == "SUBQUERY" and node["subquery_type"] == "SCALAR" for node in nodes):
            broken.append(
                "a SELECT stands in the place of a value, and would look at all windows at once: JOIN an aggregation "
                "on window_start and window_end instead"
            )
        if any(
            node.get("qualify") and node["group_expressions"] for node in nodes if node.get("type") == "SELECT_NODE"
        ):
            broken.append(
                "QUALIFY beside GROUP BY breaks Flink's planner: rank in a SELECT around it, and WHERE around that"
            )
        if any(node.get("aggregate_handling") == "FORCE_AGGREGATES" for node in nodes):
            broken.append("GROUP BY ALL is read by DuckDB alone: name the columns")
        broken += [rule for node in nodes if node.get("type") == "SELECT_NODE" for rule in _ties(node, relations)]
    if broken:
        raise UsageError("\n".join(f"{question.name}: {rule}" for rule in dict.fromkeys(broken)))


def looks_across_windows(question: Question) -> bool:
    """Whether an answer may need other windows than its own, so that the batch cannot go window by window."""
    nodes = [node for tree in _trees(question, "batch", strict=False).values() for node in _nodes(tree)]
    over = [node for node in nodes if node.get("class") == "WINDOW"]
    return (
        question.header.again is not None
        or question.window.kind == "whole"
        or any("window_end" not in _columns(node["partitions"]) for node in over)
    )


def has_subquery(question: Question) -> bool:
    """Whether a question asks EXISTS, or IN, of a SELECT."""
    trees = _trees(question, "flink", strict=False)
    return "" not in trees or any(node.get("class") == "SUBQUERY" for tree in trees.values() for node in _nodes(tree))


def _trees(question: Question, engine: Engine, *, strict: bool) -> dict[str, Node]:
    """Return what DuckDB's parser makes of each view, by its name, and of the SELECT, by no name.

    Text that only Flink knows is left out, unless it is strict.
    """
    texts = {view.name: view.select for view in question.views(engine)} | {"": question.body(engine)}
    trees = {}
    with duckdb.connect() as db:
        for name, text in texts.items():
            found = db.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchone()
            tree = json.loads(cast("tuple[str]", found)[0])
            if not tree["error"]:
                if len(tree["statements"]) != 1:
                    raise UsageError(f"{question.name}: one SELECT, not {len(tree['statements'])}")
                trees[name] = tree["statements"][0]
            elif strict:
                raise UsageError(f"{question.name}: DuckDB cannot read its SQL: {tree['error_message']}")
    return trees


def _ctes(node: Node) -> list[Node]:
    return node["cte_map"]["map"] if "cte_map" in node else []


def _name(item: Node) -> str | None:
    """Return the name of an item of a SELECT, or None where it is a star or has none."""
    return cast("str | None", item.get("alias") or (item.get("column_names") or [None])[-1])


def _nodes(tree: object) -> Iterator[Node]:
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _reads_all(node: Node) -> bool:
    """Whether a SELECT takes all columns of a relation that is not a SELECT itself."""
    if node.get("type") != "SELECT_NODE" or not any(each.get("type") == "STAR" for each in node["select_list"]):
        return False
    return any(part.get("type") == "BASE_TABLE" for part in _own_relations(node["from_table"]))


def _own_relations(relation: Node) -> Iterator[Node]:
    yield relation
    for side in ("left", "right"):
        if isinstance(relation.get(side), dict):
            yield from _own_relations(relation[side])


def _columns(expressions: list[Node]) -> set[str]:
    return {node["column_names"][-1] for node in expressions if node.get("type") == "COLUMN_REF"}


def _ties(select: Node, relations: dict[str, Node]) -> Iterator[str]:
    """Tell of each ROW_NUMBER whose order leaves open which of two rows is first, or means two things."""
    for item in select["select_list"]:
        if item.get("type") != "WINDOW_ROW_NUMBER":
            continue
        if any(
            order["null_order"] == ("NULLS FIRST" if order["type"] == "DESCENDING" else "NULLS LAST")
            for order in item["orders"]
        ):
            yield "Flink ranks NULL as the least, whatever NULLS LAST or FIRST says: ORDER BY COALESCE(x, …), x instead"
        ordered = _columns([order["expression"] for order in item["orders"]]) | _columns(item["partitions"])
        if missing := _told_apart_by(select["from_table"], relations) - set(_OF_WINDOWS) - ordered:
            yield (
                "two rows can tie in the ORDER BY of ROW_NUMBER, and each engine would put another first: add "
                f"{', '.join(sorted(missing))} at its end"
            )


def _told_apart_by(relation: Node, relations: dict[str, Node]) -> set[str]:
    """Return the columns by which the rows of a relation are told apart, as far as its GROUP BY says so."""
    if relation.get("type") == "SUBQUERY":
        node: Node | None = relation["subquery"]["node"]
    else:
        name = relation.get("table_name")
        if name == "windowed":
            return {"category", "seq"}
        node = relations.get(name or "-")
    if node is None or node.get("type") != "SELECT_NODE":
        return set()
    if not node["group_expressions"]:
        return _told_apart_by(node["from_table"], relations)
    names = {_shape(item): item["alias"] for item in node["select_list"] if item.get("alias")}
    grouped = [names.get(_shape(expression)) or _name(expression) for expression in node["group_expressions"]]
    return {name for name in grouped if name}


def _shape(expression: Node) -> str:
    return json.dumps(_plain(expression), sort_keys=True)


def _plain(part: object) -> object:
    if isinstance(part, dict):
        return {k: _plain(v) for k, v in part.items() if k not in {"alias", "query_location", "query_location_length"}}
    return [_plain(each) for each in part] if isinstance(part, list) else part
