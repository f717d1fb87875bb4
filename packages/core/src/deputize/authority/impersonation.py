"""Constrained impersonation: off unless a stored grant and a policy both permit (SEMANTICS, "Modes and hops")."""

from collections.abc import Iterable

from deputize.authority.journal import new_reference
from deputize.authority.refusal import Case, no_right
from deputize.model.failure import Denial, Denied, InvalidRequest
from deputize.model.identity import is_user, short_name
from deputize.model.registry import ResourceEntry
from deputize.model.request import AccessRequest
from deputize.model.resource import Right
from deputize.model.rules import ImpersonationGrant
from deputize.model.session import Mode, Node

MAX_REASON = 256  # characters


def impersonated(node: Node, request: AccessRequest) -> str:
    """Whom: the tree's own subject, or from a SELF session the user named. Never another user's tree."""
    if is_user(node.sub):
        if request.user not in {None, node.sub}:
            raise InvalidRequest("from a user's session only that user may be impersonated", code="invalid_target")
        return node.sub
    if request.user is None or not is_user(request.user) or node.mode is not Mode.SELF:
        raise InvalidRequest("impersonation needs a user: the session's own, or one named from a SELF session")
    return request.user


def stored_grant(case: Case, node: Node, request: AccessRequest, entry: ResourceEntry) -> ImpersonationGrant:
    """The grant of the configuration that names this agent, user and resource. Raises Denied."""
    user = impersonated(node, request)
    for grant in case.rules.configuration.impersonation:
        here = any(right.resource == entry.url for right in grant.rights)
        if here and (grant.agent, grant.user) == (node.agent, user):
            return grant
    raise _refused(case, node, f"no stored grant lets {short_name(node.agent)} impersonate {user} at {entry.alias}")


def check_impersonation(case: Case, node: Node, request: AccessRequest, rights: Iterable[Right]) -> str:
    """Check that scope ⊆ C ∩ grant ∩ P(u, grant) ∩ P(a, impersonate). Returns the user. Raises Denied."""
    if not request.reason or len(request.reason) > MAX_REASON:
        raise InvalidRequest(f"impersonation needs a reason of 1-{MAX_REASON} characters")
    entry = case.rules.registry.resource(request.resource)
    grant = stored_grant(case, node, request, entry)
    panel = case.panel
    if panel is None or panel.now >= grant.expires:
        raise _refused(case, node, "the stored grant for this impersonation has expired")
    user = grant.user
    for right in sorted(rights):
        asked = f"{short_name(node.agent)} may not appear as {user}; needs {right}"
        if right not in node.ceiling:
            raise no_right(case, right, None, rule="session-ceiling", asked=asked)
        if right not in grant.rights:
            raise no_right(case, right, None, rule="impersonation-grant", asked=asked)
        verdict = panel.impersonate(node.agent, right, user=user, reason=request.reason, grant=grant.id)
        if verdict.allowed:
            verdict = panel.grant(user, node.agent, right)
        if not verdict.allowed:
            raise no_right(case, right, panel.refusal(), rule="default-deny", asked=asked)
    return user


def _refused(case: Case, node: Node, asked: str) -> Denied:
    return Denied(
        Denial(
            code="access_denied",
            policy="impersonation-grant",
            asked=asked,
            enough="an [[impersonation]] entry in the configuration, and a policy for the action impersonate",
            reference=new_reference(),
            subject=node.sub,
            chain=tuple(short_name(actor) for actor in node.actors),
            policy_set=case.rules.policy.digest,
        )
    )
