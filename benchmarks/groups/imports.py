"""What importing costs a process: CPU time over that of a bare interpreter."""

import resource
import subprocess
import sys

from benchmarks.measure import Case, Group, Sample

JWT = "import jwt"


def build(*, quick: bool) -> Group:
    """Each sample is a process of its own, with warm byte code."""
    return Group(
        name="imports",
        title="Importing",
        clock="CPU time of a process over a bare interpreter's",
        unit="ms",
        cases=(
            Case(name=JWT, sample=_over_bare(JWT)),
            *(
                Case(name=statement, sample=_over_bare(statement), against=JWT, at_most=most)
                for statement, most in (
                    ("import deputize.verifier", 0.5),
                    ("import deputize", None),
                    ("from deputize import Authority", None),
                )
            ),
        ),
        rounds=2 if quick else 15,
    )


def _over_bare(statement: str) -> Sample:
    """A process with the statement, less one without it that runs right after."""

    def sample() -> float:
        return max(_spent(statement) - _spent("pass"), 0.01)

    return sample


def _spent(statement: str) -> float:
    """User and system time of an interpreter, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603  # ourselves, with text of this module
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e3
