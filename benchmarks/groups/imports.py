"""What importing costs a process: CPU time over that of a bare interpreter."""
"""What importing costs a process: CPU time over that of a bare interpreter."""


import os
import subprocess
import subprocess
import sys
import sys


from benchmarks.measure import Case, Group, Sample


JWT = "import jwt"


def build(*, quick: bool) -> Group:
    """Each sample is a process of its own, with warm byte code."""
    """Each sample is a process of its own, with warm byte code."""
    cases = (
    cases = (
        Case(name=JWT, sample=_cpu(JWT)),
        Case(name=JWT, sample=_cpu(JWT)),
        Case(name="import deputize.verifier", sample=_cpu("import deputize.verifier"), against=JWT, at_most=0.5),
        Case(name="import deputize.verifier", sample=_cpu("import deputize.verifier"), against=JWT, at_most=0.5),
        Case(name="import deputize", sample=_cpu("import deputize"), against=JWT),
        Case(name="import deputize", sample=_cpu("import deputize"), against=JWT),
        Case(name="from deputize import Authority", sample=_cpu("from deputize import Authority"), against=JWT),
        Case(name="from deputize import Authority", sample=_cpu("from deputize import Authority"), against=JWT),
    )
    )
    return Group(
    return Group(
        name="imports",
        name="imports",
        title="Importing",
        title="Importing",
        clock="CPU time of a process over a bare interpreter's",
        clock="CPU time of a process over a bare interpreter's",
        unit="ms",
        unit="ms",
        cases=cases,
        cases=cases,
        rounds=2 if quick else 15,
        rounds=2 if quick else 15,
    )
    )


def _cpu(statement: str) -> Sample:
    """User and system time of the whole process, less that of an interpreter that does nothing, run next to it."""
    """User and system time of the whole process, less that of an interpreter that does nothing, run next to it."""


    def sample() -> float:
        return max(_children(statement) - _children("pass"), 0.01)
        return max(_children(statement) - _children("pass"), 0.01)


    return sample


def _children(statement: str) -> float:
    before = os.times()
    before = os.times()


    subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603  # as above
    after = os.times()
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent * 1e3
    return spent * 1e3
