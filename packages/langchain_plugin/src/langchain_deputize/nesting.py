"""Which runs are parts of others, where no session tells: for agents that open a root of their own."""
# ruff: noqa: ANN401, ARG002  # the signatures are LangChain's

from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from langchain_core.callbacks import BaseCallbackHandler

STEP: Final = "graph:step:"  # tag of the task of a graph


class Nesting(BaseCallbackHandler):
    """Remembers what each chain and tool is a part of, as long as somebody holds its id. Holds no session."""

    run_inline = True
    ignore_llm = True
    ignore_chat_model = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self) -> None:
        self._above: WeakKeyDictionary[UUID, tuple[UUID | None, bool]] = WeakKeyDictionary()  # and if it is a task

    def graphs_around(self, run_id: UUID | None) -> int:
        """In how many graphs, one in another, the run happens."""
        count = 0
        while run_id is not None:
            run_id, task = self._above.get(run_id, (None, False))
            count += task
        return count

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chain, a graph or a task of a graph starts."""
        self._above[run_id] = (parent_run_id, any(tag.startswith(STEP) for tag in tags or ()))

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A tool starts."""
        self._above[run_id] = (parent_run_id, False)


NESTING: Final = Nesting()


def graphs_around(callbacks: object) -> int:
    """The same of what is called with these callbacks."""
    parent = getattr(callbacks, "parent_run_id", None)
    return NESTING.graphs_around(parent if isinstance(parent, UUID) else None)


class WhileWatched:
    """What LangChain's configure hook reads: nothing, until somebody has to know."""

    def __init__(self) -> None:
        self._watched = False

    def get(self) -> Nesting | None:
        """The handler, once `watch` was called."""
        return NESTING if self._watched else None

    def watch(self) -> None:
        """Have LangChain tell of all runs from now on."""
        self._watched = True


WATCH: Final = WhileWatched()
