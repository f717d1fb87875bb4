"""The keys of a client by its metadata document: fetched with care, and a change of them told.

Source: draft-ietf-oauth-client-id-metadata-document; every URL in the document goes the same guarded way.
"""

import hashlib
from collections.abc import Callable
from typing import Final

from deputize.fetch import Fetcher
from deputize.issuers.keys import JWKS_TYPES, IssuerKeys
from deputize.model.clock import Clock
from deputize.model.failure import InvalidRequest
from deputize.wire import canonical_json, client_metadata
from deputize.wire.client_metadata import ClientMetadata
from deputize.wire.json_strict import loads
from deputize.wire.jwk import MAX_JWKS

MAX_STALE: Final = 3600.0  # seconds that a document's keys are believed while it cannot be had

Changed = Callable[[str], None]


def fetch_document(fetcher: Fetcher, url: str, *, loopback: bool = False) -> ClientMetadata:
    """The document of the client `url`: 200, JSON, 5 KiB at most, no redirect, and of that very name.

    What its headers let be kept is kept, as long as it is good. `loopback`: this machine's own address will do.
    Raises InvalidRequest (`client_metadata_malformed`, `fetch_refused`), AuthorityUnavailable.
    """
    client_metadata.check_client_id(url, loopback=loopback)
    found = fetcher.get(url, max_bytes=client_metadata.MAX_DOCUMENT)
    try:
        return client_metadata.parse(found.body, url=url, loopback=loopback)
    except InvalidRequest:
        fetcher.forget(url)  # nothing that does not hold is kept
        raise


def client_keys(url: str, *, fetcher: Fetcher, clock: Clock, changed: Changed, loopback: bool = False) -> IssuerKeys:
    """The keys of the client `url`. `changed` is told the digest of each set that is fetched."""

    def load() -> bytes:
        document = fetch_document(fetcher, url, loopback=loopback)
        raw = document.jwks
        if document.jwks_uri is not None:
            raw = fetcher.get(document.jwks_uri, types=JWKS_TYPES, max_bytes=MAX_JWKS, fresh=True).body
        if raw is None:
            raise InvalidRequest("this client has no keys", code=client_metadata.MALFORMED)
        changed(hashlib.sha256(canonical_json.dumps(loads(raw))).hexdigest())
        return raw

    return IssuerKeys(url, url, fetcher, clock=clock, max_stale=MAX_STALE, load=load)
