"""Commands of streamproof that kill themselves at the so-many-th thing that they do in the lake.

A thing is a file that is begun or is open, or a commit that is about to be made or is just made. The processes are
forked from one that has imported all they need: they start in no time.
"""

import itertools
import os
import signal
from multiprocessing import get_context

_FORKING = get_context("forkserver")
_FORKING.set_forkserver_preload(["streamproof.sinks.lake.cli", "streamproof.sinks.lake.target", "streamproof.cli"])


def run_dying(arguments, dies_at=0):
    """Run a command in a process of its own and return its exit code; with 0 it lives."""
    process = _FORKING.Process(target=_run, args=(arguments, dies_at, dict(os.environ)))
    process.start()
    process.join()
    return process.exitcode


def _run(arguments, dies_at, environment):
    os.environ.update(environment)
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.io.pyarrow import PyArrowFileIO

    from streamproof.cli import app

    things = itertools.count(1)

    def die():
        if next(things) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(function):
        def do(*values, **named):
            die()
            done = function(*values, **named)
            die()
            return done

        return do

    PyArrowFileIO.new_output = dying(PyArrowFileIO.new_output)
    SqlCatalog.commit_table = dying(SqlCatalog.commit_table)
    app(arguments)
