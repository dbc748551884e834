"""Lets azure-cli itself judge command lines, many in one process. Runs with azure-cli's own Python, not the project's.

Standard input: a JSON list of command lines, each a list of arguments without the leading `az`.
Standard output: a JSON list of `[exit code, messages]`. Nobody is signed in, so nothing is ever sent to Azure.
"""

import contextlib
import io
import json
import logging
import sys

from azure.cli.core import get_default_cli  # pyright: ignore[reportMissingImports]


def verdict(arguments):
    """Exit code and messages of one command line."""
    messages = io.StringIO()
    root = logging.getLogger()
    root.handlers.clear()
    with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = get_default_cli().invoke(arguments)
        except SystemExit as leaving:
            code = leaving.code
    return code, messages.getvalue()


if __name__ == "__main__":
    json.dump([verdict(arguments) for arguments in json.load(sys.stdin)], sys.stdout)
