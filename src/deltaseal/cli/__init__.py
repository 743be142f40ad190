"""The command ``deltaseal``: one module a command group, no logic, only words.

What every command keeps to:

- Data goes to standard output, words to standard error.
- An error is one line, with its reason code and a hint; ``--debug`` adds the trace.
- What reports has ``--json``: one object with ``format``, also where it refuses.
- Exit codes are the table of :mod:`deltaseal.errors`.
- Nothing is loaded before it is used: a command's module when the command runs.
"""

from deltaseal.cli.entry import main

__all__ = ["main"]
