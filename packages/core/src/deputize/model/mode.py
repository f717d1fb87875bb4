"""On whose behalf. Apart from sessions, so that a resource server reads it without loading them."""

import enum


class Mode(enum.Enum):
    """On whose behalf. Always explicit, never a silent fallback."""

    SELF = "self"
    ON_BEHALF_OF = "on_behalf_of"
    IMPERSONATION = "impersonation"
