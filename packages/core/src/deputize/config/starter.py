"""The file that `deputize init` writes: small, commented, and valid as it stands."""

from typing import Final

PORT: Final = 8400
_STARTER: Final = """\
# Deputize: who may do what, on whose behalf. Unknown keys are refused; every other key has a default.
version = 1

[authority]
issuer = "http://127.0.0.1:%d"    # exact string in every token; https unless loopback
trust_domain = "local"              # agents are spiffe://local/agent/<name>
users = "unrestricted"              # any user may use any agent; "listed": [[users]] and policies decide

[store]
url = "sqlite:deputize.db"          # beside this file; whoever can write it is the authority

# What can be reached. `local` (tools in the agent's own process) is always there.
[resources.crm]
url = "https://crm.example/mcp"     # the `aud` of its tokens, byte for byte
scopes = ["crm:read", "crm:write"]

[resources.crm.tools]               # scopes of one call of each tool
read_customers = ["crm:read"]
drop_table = ["crm:write"]

# Who. An agent holds what stands here and nothing else.
[agents.supervisor]
open = true                         # may start a session
delegate = { crm = ["crm:read"], local = ["search"] }    # may hand on, not use
delegate_to = ["researcher"]

[agents.researcher]
use = { crm = ["crm:read"], local = ["search"] }         # for `local`: names of tools

# Cedar policies that add to these rules or forbid over them; each has an @id.
[policy]
files = ["policies/*.cedar"]
"""


def starter(port: int = PORT) -> str:
    """The text of a first `deputize.toml`, whose issuer is a server on this `port` of the loopback."""
    text = _STARTER % port
    return text if port == PORT else f"{text}\n[server]\nport = {port}\n"
