"""A resource server in a process of its own: a token a line in, `ok` or a code a line out."""

import sys

from deputize import DeputizeError, HttpKeys, HttpRevocations
from deputize.verifier import Verifier


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


issuer, resource = sys.argv[1:3]
with HttpRevocations(issuer, auth=lambda: {"reader": "the reader shows this"}, first_wait=10) as revocations:
    verifier = Verifier(issuer, resource, keys=HttpKeys(issuer), revocations=revocations)
    for line in sys.stdin:
        try:
            verifier.verify(line.strip())
            say("ok")
        except DeputizeError as error:
            say(error.code)
heavy = ("cedarpy", "pydantic", "starlette", "uvicorn", "sqlite3", "typer")
say(str([name for name in heavy if name in sys.modules]))
