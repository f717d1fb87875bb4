"""The search of a log, the same whoever holds it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from deputize.authority.operating import Wanted
from deputize.model.event import Json


class LogSearch(ABC):
    """`find` over what a log can say of its own records."""

    @abstractmethod
    def found(self, wanted: Wanted, limit: int) -> list[Mapping[str, Json]]:
        """The newest `limit` records that match, oldest first, as plain data."""

    def find(
        self,
        *,
        session: str | None = None,
        root: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        tool: str | None = None,
        outcome: str | None = None,
        type: str | None = None,  # noqa: A002  # the record's member, as in Event
        token: str | None = None,
        call_id: str | None = None,
        reference: str | None = None,
        limit: int = 1000,
    ) -> list[Mapping[str, Json]]:
        """The newest `limit` records that match all that was given, oldest first, as plain data.

        `session` of a root stands for its whole tree; users and agents go by the names that people use. Raises NotFound
        for a name that no agent has, IntegrityError (`record_changed`) where a server's record is not its leaf's.
        """
        wanted = Wanted(
            session=session,
            root=root,
            agent=agent,
            user=user,
            tool=tool,
            outcome=outcome,
            type=type,
            token=token,
            call_id=call_id,
            reference=reference,
        )
        return self.found(wanted, limit)
