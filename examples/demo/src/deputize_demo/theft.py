"""Scene 4: the researcher's token is stolen, and presented where, how and when it should not be."""

from deputize_demo.credentials import Answer, Thief, present, rejected
from deputize_demo.stage import Stage


async def theft(stage: Stage) -> None:
    """Every attempt is wrong in one thing only, so that each refusal has one reason."""
    stage.screen.heading(
        "4. A stolen token",
        "Somebody gets hold of a token of the researcher, for customers:read at the analytics server, and presents it. "
        "Each line changes one thing about its rightful use.",
    )
    stage.setting.payroll.wait()
    analytics, payroll = stage.setting.analytics.url, stage.setting.payroll.url
    with stage.root.delegate("researcher", task="a second look") as researcher:
        access = researcher.access("analytics", ["customers:read"])
        thief = Thief(access.reveal())  # the theft: the one line by which a token leaves the library

        rightful = await present(analytics, access.headers("POST", analytics), "churn_by_plan")
        _tell(stage, "as it should be used", rightful, expected="200 accepted")

        more = await present(analytics, access.headers("POST", analytics), "drop_table", table="customers")
        _tell(stage, "for a tool that needs more", more, expected="403 insufficient_scope")

        elsewhere = await rejected(stage.authority, payroll, access.headers("POST", payroll), "read_salaries")
        _tell(stage, "at another server", elsewhere, expected="401 wrong_audience")

        keyless = await rejected(stage.authority, analytics, thief.headers(analytics), "churn_by_plan")
        _tell(stage, "with another key", keyless, expected="401 invalid_dpop_proof")

    late = await rejected(stage.authority, analytics, access.headers("POST", analytics), "churn_by_plan")
    _tell(stage, "after its session closed", late, expected="401 token_revoked")

    with stage.authority.session(user="bob", agent="bookkeeper", task="payday") as bookkeeper:
        own = bookkeeper.access("payroll", ["salaries:read"])
        served = await present(payroll, own.headers("POST", payroll), "read_salaries", team="sales")
    stage.screen.say("The other server is not just out of order:")
    _tell(stage, "a token of payroll's own agent, there", served, expected="200 accepted")


def _tell(stage: Stage, what: str, answer: Answer, *, expected: str) -> None:
    stage.screen.attempt(what, str(answer), allowed=not answer.reason)
    for server in (stage.setting.analytics, stage.setting.payroll):
        for line in server.said():
            stage.screen.aside(f"{server.name}:", line)
    name = what if what.startswith("a token") else f"a stolen token, {what}"
    stage.checks.add(name, expected=expected, observed=answer)
