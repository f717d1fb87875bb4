"""Signing in as an operator at a real, certified OpenID provider, from the command line's own code."""

import threading
from typing import Any

import httpx
import pytest

from deputize.client.login import SignIn, sign_in
from deputize.issuers.operators import Operators
from deputize.model.rules import OperatorRule
from deputize.system import SystemClock

CLOCK = SystemClock()
STS = "https://sts.example"


@pytest.mark.requirement("A-17")
def test_a_person_who_signs_in_there_is_an_operator_here_in_the_role_of_their_group(provider: Any) -> None:
    browsers: list[threading.Thread] = []

    def show(url: str) -> None:
        def browse() -> None:
            with httpx.Client(base_url=provider.issuer, trust_env=False, timeout=10) as browser:
                answer = browser.get(f"{url}&login_hint=u1")
                while answer.is_redirect:
                    answer = browser.get(answer.headers["location"])

        browsers.append(threading.Thread(target=browse))
        browsers[-1].start()

    def signed_in(*, id_token: bool) -> str:
        how = SignIn(
            issuer=provider.issuer, client_id="command-line", scope="openid crm:read", id_token=id_token, wait=20
        )
        try:
            return sign_in(how, clock=CLOCK, show=show).token
        finally:
            for browser in browsers:
                browser.join()

    rule = OperatorRule(issuer=provider.issuer, groups={"responder": ("eu",)}, audience=(STS, "command-line"))
    operators = Operators([rule], issuer=STS, names={provider.issuer: "corp"}, clock=CLOCK)
    found = operators.verify(signed_in(id_token=True), CLOCK.now())
    assert (found.name, found.role) == ("corp|u1", "responder")
    without = operators.verify(signed_in(id_token=False), CLOCK.now())  # its access tokens say nothing of groups
    assert (without.name, without.role) == ("corp|u1", None)
