"""What the nodes of a NiFi cluster have received is what they have received together."""

from nifi_templates.deployment import unite


def test_rows_that_two_nodes_received_count_together_and_each_number_once():
    one = {"R": {"Books": (3, [[1, 3]])}, "S": {"Books": (1, [[1, 1]])}}
    other = {"R": {"Books": (3, [[3, 5]]), "Music": (1, [[1, 1]])}}
    assert unite([one, other]) == {
        "R": {"Books": (6, [[1, 5]]), "Music": (1, [[1, 1]])},
        "S": {"Books": (1, [[1, 1]])},
    }


def test_of_what_one_node_cannot_tell_nothing_is_known():
    assert unite([{"R": None}, {"R": {"Books": (1, [[1, 1]])}}]) == {"R": None}
    assert unite([]) == {}
