"""`python -m deputize_examples.deep_research`."""

import asyncio
import sys
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from deputize import Authority, Session
from deputize_examples.deep_research import seed
from deputize_examples.deep_research.agents import AGENTS, build
from deputize_examples.deep_research.script import PARTS
from deputize_examples.deep_research.servers import Press, library
from deputize_examples.program import Example, Outcome, opened, run
from langchain_deputize import DeputizeCallbackHandler

ASKED = "What is new about heat pumps, wind power, night trains and peat bogs?"


def play(model: BaseChatModel, folder: Path) -> Outcome:
    """Alice's session is opened around the graph; each researcher gets a smaller one of its own."""
    database = folder / "library.sqlite"
    seed.seed(database)
    shelves, press = library(database), Press()
    with opened("deep_research", folder, [shelves, press.service]) as authority:
        graph = build(model, library=shelves.url, press=press.service.url)
        report, session = asyncio.run(_research(authority, graph))
        return Outcome(
            answer=report,
            tree=session.tree(),
            heard={"library": sorted(shelves.heard), "press": press.service.heard},
            facts={
                f"texts published: {len(press.published)}, the report": press.published == [ASKED],
                "the press never heard of a researcher": not any("researcher" in line for line in press.service.heard),
            },
        )


async def _research(authority: Authority, graph: Runnable[object, dict[str, object]]) -> tuple[str, Session]:
    handler = DeputizeCallbackHandler(agents=AGENTS)
    async with await authority.asession(user="alice", agent="chief", task="what is new") as session:
        done = await graph.ainvoke({"question": ASKED}, {"callbacks": [handler]})
    return str(done["report"]), session


EXAMPLE = Example(
    name="deep_research",
    about="A graph written by hand: plan, four researchers without a name in parallel, an editor who publishes.",
    asked=ASKED,
    where=f"Document {seed.POISONED} of {seed.DOCUMENTS}",
    order=seed.INJECTION,
    parts=PARTS,
    play=play,
)

if __name__ == "__main__":
    sys.exit(run(EXAMPLE))
