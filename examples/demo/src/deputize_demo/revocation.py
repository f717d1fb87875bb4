"""Scene 5: while agents work, alice's sessions are cut off from another process."""

import asyncio
from collections import Counter
from typing import Final

from langchain_core.language_models import BaseChatModel

from deputize_demo import scripts
from deputize_demo.command_line import Done, deputize
from deputize_demo.credentials import present
from deputize_demo.narrator import Narrator
from deputize_demo.stage import Stage, number, outcome
from deputize_demo.words import name

AGENTS: Final = ("researcher", "writer", "supervisor")
_PATIENCE: Final = 60.0  # seconds until both agents are at work


async def revocation(stage: Stage, scripted: BaseChatModel, interlude: scripts.Interlude) -> None:
    """Revoke between two calls of researcher and writer; the next call of each has to be refused."""
    stage.screen.heading(
        "5. Cut off from outside",
        f"alice asks: {scripts.WATCH}",
        "Both work at the same time. Between two of their calls somebody revokes alice, in another process.",
    )
    narrator = Narrator(stage.screen, stage.root, stage.setting.analytics).skip()
    async with narrator:
        question = {"messages": [{"role": "user", "content": scripts.WATCH}]}
        run = asyncio.create_task(stage.agents(scripted).ainvoke(question))
        try:
            await _until_both_pause(run, interlude)
            narrator.catch_up()
            await _cut_off(stage)
        finally:
            interlude.over()
        await run
    _check(stage)


async def _until_both_pause(run: "asyncio.Task[object]", interlude: scripts.Interlude) -> None:
    pause = asyncio.create_task(interlude.all_here())
    try:
        await asyncio.wait({run, pause}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pause.cancel()


async def _cut_off(stage: Stage) -> None:
    working = list(stage.authority.sessions(agent="researcher", live=True))
    before = [session.access("analytics", ["customers:read"]) for session in working]
    arguments = ("session", "revoke", "--user", "alice", "--reason", "left the company")
    stage.screen.command(" ".join(("deputize", *arguments[:-1], f'"{arguments[-1]}"')))
    done = await deputize(*arguments, "--config", stage.setting.config)
    stage.screen.aside("it prints:", done.output)
    _check_command(stage, done)
    url = stage.setting.analytics.url
    answers = [str(await present(url, access.headers("POST", url), "churn_by_plan")) for access in before]
    stage.checks.add(
        "the server refuses a token from before", expected="401 invalid_token", observed=", ".join(answers)
    )


def _check_command(stage: Stage, done: Done) -> None:
    states = Counter(node.state for node in stage.root.tree().walk())
    stage.checks.add("another process revokes alice", expected="exit status 0", observed=f"exit status {done.status}")
    stage.checks.add(
        "every session that was open is revoked",
        expected="3 revoked, 0 open",
        observed=f"{states['revoked']} revoked, {states['open']} open",
    )


def _check(stage: Stage) -> None:
    since = stage.revoked_at()
    later = [record for record in stage.records("tool.denied") if number(record) > since]
    for agent in AGENTS:
        fates = [outcome(record) for record in later if name(record.get("agent")) == agent]
        stage.checks.add(
            f"the next call of the {agent} is refused",
            expected="denied by session-revoked",
            observed=fates[0] if fates else "never called",
        )
    started = sum(number(record) > since for record in stage.records("tool.started"))
    stage.checks.add("nothing ran after the revocation", expected="0 calls", observed=f"{started} calls")
