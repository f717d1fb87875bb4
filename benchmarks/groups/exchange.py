"""One exchange in process, from the session token to the committed record and the signed access token."""

from functools import partial

from benchmarks.measure import Case, Group, looped
from benchmarks.workplace import Workplace, access, fresh_access, raw_exchange, session_of, verified_access

RAW = "raw: 2 ES256 verifications + 1 signature"
FEW = "access, inputs cached, 500 policies"


def build(*, quick: bool) -> Group:
    """Both principals are asked; SQLite NORMAL on a file; the record is in the transaction."""
    place = Workplace()
    loops = 20 if quick else 200
    few = session_of(place.authority("few.db"))
    many = session_of(place.authority("many.db", policies=500 if quick else 5000))
    return Group(
        name="exchange",
        title="Exchange in process: 500 policies, both principals, SQLite NORMAL on a file, with record",
        clock="thread CPU time",
        unit="us",
        cases=(
            Case(name=RAW, sample=looped(raw_exchange(), loops, cpu=True)),
            Case(
                name="access, nothing remembered",
                sample=looped(partial(fresh_access, few), loops, cpu=True),
                against=RAW,
                at_most=3.0,
            ),
            Case(
                name="access, inputs verified",
                sample=looped(partial(verified_access, few), loops, cpu=True),
                against=RAW,
                at_most=3.0,
            ),
            Case(name=FEW, sample=looped(partial(access, few), loops, cpu=True), against=RAW, at_most=1.8),
            Case(
                name="access, inputs cached, 5,000 policies",
                sample=looped(partial(access, many), loops, cpu=True),
                against=FEW,
                at_most=1.2,
            ),
        ),
        rounds=3 if quick else 25,
        close=place.close,
    )
