"""Print the variables by which other programs find the stack: boto3, the AWS CLI, the action proxy, the client, and
OpenWhisk's clients `wsk` and npm `openwhisk`.

  eval "$(kaas env)"
  eval "$(kaas env --namespace bob)"        # as another namespace, which `kaas up --namespace bob` has made

They contain keys: do not print them where others read.
"""

from __future__ import annotations

import argparse
import shlex

from kaas_cli.access import local_environment, state_directory, wsk_line
from kaas_cli.output import Failure
from kaas_local.credentials import GUEST


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--namespace", default=GUEST, metavar="NAME", help=f"whose keys ({GUEST})")


def run(given: argparse.Namespace) -> int:
    """Print lines for a shell."""
    variables = local_environment(given.namespace)
    if variables is None:
        raise Failure(f"nothing runs in {state_directory().path}", hint="start it with `kaas up`")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"# {wsk_line(variables)}")
    return 0
