"""Generated files of every kind through the whole chain, judged against the files alone."""

from random import SystemRandom
from uuid import uuid4

import pytest
from generated_csv import files, stream_of
from hunting import cases
from hypothesis import Phase, given, seed, settings

from nifi_templates.deployment import deploy, remove
from streamproof.core.duration import parse_duration
from streamproof.core.question import parse_question

CATEGORIES = 4
FILES = cases(40)
START = 1_704_067_200_000
AMOUNTS = parse_question(
    "amounts",
    """-- How much is there of each id?
-- stream = "generated"
-- window = "sliding 30s / 5s"
-- key = ["category", "id"]
SELECT window_start, window_end, category, id, COUNT(*) AS times, SUM(amount) AS amount, MIN(amount) AS least
FROM windowed
GROUP BY window_start, window_end, category, id
""",
    "the test",
)


def generate(hunt_seed):
    """Return generated files that the contract of the first one fits."""
    made = []

    @seed(hunt_seed)
    @settings(max_examples=FILES, phases=[Phase.generate], database=None)
    @given(files(headers=[False], delimiters=[","]))
    def generate_one(file):
        made.append(file)

    generate_one()
    assert len(made) >= FILES
    return made


@pytest.fixture
def stream(chain):  # noqa: ARG001 - the servers must be there
    """A stream of its own: the flow that has it is removed behind the test."""
    stream = stream_of(generate(0)[0], f"t{uuid4().hex[:10]}")
    deploy(stream)
    yield stream
    remove(stream.name, force=True)


def test_generated_files_are_proven_and_what_does_not_fit_is_accounted_for(chain, stream):
    hunt_seed = SystemRandom().randrange(2**32)
    print(f"seed {hunt_seed}")  # shown when the test fails
    made = generate(hunt_seed)
    paths = {f"C{n}": chain.folder / f"C{n}.csv" for n in range(CATEGORIES)}
    for n, path in enumerate(paths.values()):
        path.write_bytes(b"\n".join(file.content.removeprefix(b"\xef\xbb\xbf") for file in made[n::CATEGORIES]))
    run = chain.new_run("hunted")
    replayed = chain.replay(run, paths, stream, interval=parse_duration("1s"), start=START)
    verdict = chain.assert_proven(run, chain.submit("30s/5s", run, stream, [AMOUNTS]))
    assert verdict.rows.kafka == verdict.rows.sent == sum(rows.sent for rows in replayed.rows.values()) > 0
    for category, rows in replayed.rows.items():
        told = (chain.servers.home.runs / run / f"rejects-{category}.csv").read_bytes()
        assert rows.rejected == verdict.categories[category].rejected > 0
        assert told.startswith(b"line,reason,text")
