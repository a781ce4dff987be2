"""``python dying.py N COMMAND...``: a command of streamproof that kills itself at the N-th thing it does in the lake.

A thing is a file that is begun, or a commit that is about to be made or is just made. 0: it lives.
"""

import itertools
import os
import signal
import sys

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO

DIES_AT = int(sys.argv.pop(1))
_things = itertools.count(1)


def die():
    if next(_things) == DIES_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def dying(function):
    def do(*arguments, **named):
        die()
        done = function(*arguments, **named)
        die()
        return done

    return do


if __name__ == "__main__":
    PyArrowFileIO.new_output = dying(PyArrowFileIO.new_output)
    SqlCatalog.commit_table = dying(SqlCatalog.commit_table)
    from streamproof.__main__ import main

    main()
