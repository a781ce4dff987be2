"""The commands ``validate``, ``audit`` and ``results``, with what this chain's NiFi and Flink say of a run."""

from streamproof.chain.ask_stages import STAGES
from streamproof.chain.late_rows import late_rows
from validation.cli import Commands

_commands = Commands(stages=STAGES, late_rows=late_rows)
validate, audit, results = _commands.validate, _commands.audit, _commands.results
