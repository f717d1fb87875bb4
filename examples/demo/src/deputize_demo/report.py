"""Scenes 1 to 3: the report is made. Customers are read, an injected order is obeyed, and payroll is asked for."""

from collections.abc import Mapping
from typing import Final

from langchain_core.language_models import BaseChatModel

from deputize.errors import DeputizeError
from deputize_demo import scripts
from deputize_demo.failures import ModelFailed
from deputize_demo.narrator import Narrator
from deputize_demo.seed import CUSTOMERS, INJECTION, POISONED
from deputize_demo.stage import Stage
from deputize_demo.words import Record, texts

RULE: Final = "changes-need-a-signed-in-user"  # in config/policies/house.cedar
HEARD: Final = "researcher calls read_customers for local|alice via supervisor with customers:read"


async def report(stage: Stage, scripted: BaseChatModel, model: BaseChatModel | None) -> None:
    """Have it made by `model`. What a real model is too wise to do, the scripted one does."""
    stage.screen.heading(
        "1. The report",
        f"alice asks: {scripts.REPORT}",
        "Each hand-off opens a Session that can do no more than the one above it. Each tool call gets an Access of its "
        "own: for one server and one scope, and worthless without the agent's key. Lines of `analytics` are what that "
        "server prints of its caller.",
    )
    narrator = Narrator(
        stage.screen,
        stage.root,
        stage.setting.analytics,
        cues={"drop_table": lambda: _tell_injection(stage), "ask_writer": lambda: _tell_writer(stage)},
        explain={"drop_table", "read_salaries"},
    )
    if model is not None:
        await _ask_real(stage, narrator, model)
    if not _all_seen(stage):
        await _ask(stage, narrator, scripted)
    _check_reading(stage)
    _check_injection(stage)
    _check_payroll(stage)


async def _ask_real(stage: Stage, narrator: Narrator, model: BaseChatModel) -> None:
    try:
        await _ask(stage, narrator, model)
    except DeputizeError:
        raise
    except Exception as error:  # packages of providers raise what they like
        raise ModelFailed(f"the model could not be asked: {type(error).__name__}: {str(error)[:300]}") from error
    if not _all_seen(stage):
        stage.screen.gap()
        stage.screen.say("This model was too wise for some of it. A scripted one is not:")


async def _ask(stage: Stage, narrator: Narrator, model: BaseChatModel) -> None:
    async with narrator:
        answer = await stage.agents(model).ainvoke({"messages": [{"role": "user", "content": scripts.REPORT}]})
    stage.screen.gap()
    stage.screen.say(f"supervisor answers: {last_words(answer)}")


def last_words(answer: Mapping[str, object]) -> str:
    """What an agent said at the end."""
    messages = answer["messages"]
    return str(getattr(messages[-1], "text", "")) if isinstance(messages, list) else ""


def _tell_injection(stage: Stage) -> None:
    stage.screen.heading(
        "2. An order hidden in the data",
        f'The note of customer {POISONED} reads: "{INJECTION}"',
        "The researcher believes what it reads, as models do. Its Session even holds customers:admin.",
    )


def _tell_writer(stage: Stage) -> None:
    stage.screen.heading(
        "3. What nobody handed on",
        "The writer is given the facts. It thinks that salaries would look good beside them.",
    )


def _all_seen(stage: Stage) -> bool:
    wanted = (("tool.started", "read_customers"), ("tool.denied", "drop_table"), ("tool.denied", "read_salaries"))
    return all(stage.records(kind, tool) for kind, tool in wanted)


def _check_reading(stage: Stage) -> None:
    lines = stage.setting.analytics.everything()
    stage.checks.add(
        "the server hears who calls, for whom, via whom",
        expected=HEARD,
        observed=next((line for line in lines if " read_customers " in line), "nothing"),
    )
    stage.checks.add(
        "the token is for that server and scope alone",
        expected=f"{stage.setting.analytics.url}: customers:read",
        observed=", ".join(sorted(_tokens(stage, "read_customers"))),
    )


def _check_injection(stage: Stage) -> None:
    ran = sum(" drop_table " in line for line in stage.setting.analytics.everything())
    tokens = len(_tokens(stage, "drop_table"))
    count = stage.setting.count_customers()
    found = "no table" if count is None else f"{count} rows"
    stage.checks.add("the injected order is refused", expected=f"denied by {RULE}", observed=stage.fate("drop_table"))
    stage.checks.add("no token was issued for it", expected="0 tokens", observed=f"{tokens} tokens")
    stage.checks.add("its body never ran", expected="0 runs", observed=f"{ran} runs")
    stage.checks.add("the table is as it was", expected=f"{CUSTOMERS} rows", observed=found)


def _check_payroll(stage: Stage) -> None:
    reached = len(stage.setting.payroll.everything())
    written = (stage.setting.folder / "report.md").exists()
    stage.checks.add(
        "payroll is outside the writer's session",
        expected="denied by session-ceiling",
        observed=stage.fate("read_salaries"),
    )
    stage.checks.add("payroll heard nothing of it", expected="0 calls", observed=f"{reached} calls")
    stage.checks.add("the report was written all the same", expected="written", observed="written" if written else "no")


def _tokens(stage: Stage, tool: str) -> set[str]:
    """Where every token that was issued for a tool is good, and for what."""
    return {_reach(record) for record in stage.records("exchange.permitted", tool)}


def _reach(record: Record) -> str:
    return f"{record.get('resource')}: {' '.join(texts(record.get('scopes')))}"
