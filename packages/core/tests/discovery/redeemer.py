"""A process of its own: joins as its workload, redeems the invitation it is given, and says what it holds."""

import json
import sys

from deputize import Authority, DeputizeError
from deputize.client.evidence import Join


def main() -> None:
    told = json.load(sys.stdin)
    with Authority.connect(told["url"], attestor=Join(told["join"])) as authority:
        try:
            with authority.redeem(told["invitation"], agent=told["agent"], task="look up") as session:
                access = session.access("crm", ["crm:read"], tool="read_customers")
                said = {
                    "sid": session.id,
                    "parent": session.node.parent,
                    "chain": session.chain,
                    "subject": session.subject,
                    "rights": sorted(str(right) for right in session.rights),
                    "active": access.bound,
                }
        except DeputizeError as error:
            said = {"code": error.code}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
