"""What a client of an MCP server can run into, as types."""

from deputize.errors import DeputizeError


class StepUpDenied(DeputizeError):
    """The server asked for more than the delegated session gives; nothing more was sent.

    `required`: what the server named. `granted`: what the refused token held. `reference` finds the authority's
    record of the refusal, where there is one.
    """

    default_code = "insufficient_scope"

    def __init__(self, required: frozenset[str], granted: frozenset[str], *, reference: str | None = None) -> None:
        super().__init__(
            f"the server asks for {_listed(required)}; the session granted {_listed(granted)}", reference=reference
        )
        self.required = required
        self.granted = granted


class ResourceMismatch(DeputizeError):
    """The server at this URL is not the resource that a token would be for; no token was sent (RFC 9728 §3.3)."""

    default_code = "resource_mismatch"


def _listed(scopes: frozenset[str]) -> str:
    text = " ".join(sorted(scopes)) or "nothing"
    return text if len(text) <= 200 else text[:200] + " ..."  # noqa: PLR2004  # of foreign text in a message
