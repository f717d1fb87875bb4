"""`deputize login` and `logout`: an operator's token, for the commands that speak to a server."""

import contextlib
import os
import webbrowser
from typing import Annotated

import typer

from deputize.cli.audit_print import data, say, write_out
from deputize.cli.reaching import TIMEOUT, URL_VARIABLE
from deputize.client.connect import connect_operator
from deputize.client.login import SignIn, sign_in
from deputize.client.operator_token import forget, keep
from deputize.system import SystemClock

UrlOption = Annotated[str, typer.Option("--url", envvar=URL_VARIABLE, help="the authority's URL")]
JsonOption = Annotated[bool, typer.Option("--json", help="print data instead of words")]


def add(app: typer.Typer) -> None:
    """Put these commands beside the others."""
    app.command()(login)
    app.command()(logout)


def login(
    *,
    url: UrlOption,
    issuer: Annotated[str, typer.Option(help="where you sign in: an issuer of [[operators]]")],
    client_id: Annotated[str, typer.Option(help="of a public client that is registered there")],
    scope: Annotated[str, typer.Option(help="what is asked for, separated by spaces")] = "openid",
    resource: Annotated[str | None, typer.Option(help="for whom the token is (RFC 8707)")] = None,
    audience: Annotated[str | None, typer.Option(help="the same, for issuers that call it so")] = None,
    id_token: Annotated[bool, typer.Option("--id-token", help="keep the ID token, not the access token")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the redirect; 0: any that is free")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="print the URL, open nothing")] = False,
    json: JsonOption = False,
) -> None:
    """Sign in at your own provider, and keep the short-lived token for this authority. Nothing renews it."""
    clock = SystemClock()
    with contextlib.closing(
        connect_operator(url, timeout=TIMEOUT, clock=clock, operator_token=lambda _: None)
    ) as operator:
        authority = operator.issuer  # whoever answers there has to be the issuer of that name
    how = SignIn(
        issuer=issuer,
        client_id=client_id,
        scope=scope,
        resource=resource,
        audience=audience,
        id_token=id_token,
        port=port,
    )

    def show(where: str) -> None:
        say("sign in here, within five minutes:")
        typer.echo(where, err=True)
        if not no_browser:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(where)

    found = sign_in(how, clock=clock, show=show)
    path = keep(authority, found.token, found.expires, os.environ)
    left = max(found.expires - int(clock.now()), 0)
    if json:
        data({"authority": authority, "expires": found.expires, "path": str(path)})
    else:
        write_out(f"signed in to {authority} for {left // 60} min; the token is kept in {path}\n")


def logout(*, url: UrlOption, json: JsonOption = False) -> None:
    """Delete the token that is kept for this authority. Its issuer is not told: it ends by itself."""
    authority = url.rstrip("/")
    gone = forget(authority, os.environ)
    if json:
        data({"authority": authority, "deleted": gone})
    else:
        write_out("the token is deleted\n" if gone else "no token is kept for this authority\n")
