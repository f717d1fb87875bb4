"""The keys that tokens are signed with: this process's own, and the public halves of all that live."""

import secrets
from dataclasses import dataclass, replace

from deputize.audit.record import open_body
from deputize.authority.journal import append
from deputize.keys.anchor import Anchor
from deputize.keys.lease import LIVE_KEYS_MAX, Lease, LeasedKey
from deputize.model.clock import Clock
from deputize.model.event import Event, Json, Record
from deputize.model.failure import AuthorityUnavailable, DeputizeError, StoreError
from deputize.model.limits import Limits
from deputize.model.revocation import Kind
from deputize.store.protocol import ReadTx, Store, WriteTx
from deputize.store.rows import KeyRow
from deputize.wire import json_strict
from deputize.wire.alg import LocalKey, VerifyingKey, generate
from deputize.wire.jws import Header
from deputize.wire.published_key import proved_key, statement

LEEWAY = 5  # seconds that a verifier's clock may be off
CLOCK_MILLIS = 1000
MOST_TOLD = 256  # rows that do not hold, by one process


@dataclass(frozen=True, slots=True)
class Served:
    """A public key as it is served, with the second after which it no longer signs, and the row that was checked."""

    key: VerifyingKey
    sign_until: int
    serve_until: int
    row: KeyRow


class KeyBook:
    """Signs with a leased in-memory key; looks up the keys of every process on the same store."""

    def __init__(
        self, *, algorithm: str, store: Store, clock: Clock, anchor: Anchor, issuer: str, limits: Limits
    ) -> None:
        self._store = store
        self._clock = clock
        self.anchor = anchor
        self._issuer = issuer
        self._algorithm = algorithm
        self._longest = 0
        self.allow_for(limits)
        self.instance = secrets.token_hex(8)
        self._leased: LeasedKey[LocalKey] = LeasedKey(self._make, self._publish)
        self._served: dict[str, Served] = {}
        self._told: set[str] = set()
        self._seen = -1

    def _make(self) -> LocalKey:
        return generate(self._algorithm)

    def allow_for(self, limits: Limits) -> None:
        """Serve keys as long as tokens of these limits may live, from the next renewal on; never shorter."""
        self._longest = max(self._longest, limits.session_token_ttl, limits.access_ttl, limits.identity_ttl)

    def signer(self, now: float = 0) -> LocalKey:
        """This process's key; made and published at the first call, its lease renewed at half.

        `now` is the authority's time, which is ahead of this process's clock where that stepped back: what is
        issued carries it, so the lease has to reach as far.
        """
        return self._leased.get(max(now, self._clock.now()))

    def check_signer(self, revoked: bool) -> None:  # noqa: FBT001  # what the transaction read of this key
        """A revoked key signs nothing more; the next caller gets a new one. Raises AuthorityUnavailable."""
        if revoked:
            self._leased.forget()
            raise AuthorityUnavailable("this process's signing key was revoked; ask again", retry_after=0)

    def forked(self) -> None:
        """In a child process: the parent's key is not ours to use."""
        self._leased.forked()
        self.instance = secrets.token_hex(8)
        self._seen = -1

    def drop(self, kid: str) -> None:
        """Serve a revoked key no more, and sign with another."""
        lease = self._leased.lease
        if lease is not None and lease.key.kid == kid:
            self._leased.forget()
        self._seen = -1

    def verifying(self, header: Header) -> VerifyingKey | None:
        """The key that a token of ours names, if it is served and its algorithm is the header's."""
        served = self.served(header.kid or "")
        return served.key if served is not None and served.key.alg == header.alg else None

    def served(self, kid: str) -> Served | None:
        """A live key by its id; the store is read again only when something wrote to it."""
        served = self._served.get(kid)
        now = self._clock.now()
        if served is None or now >= served.sign_until:  # unknown here, or renewed since it was read
            self._refresh()
            served = self._served.get(kid)
        return served if served is not None and now < served.serve_until else None

    def jwks(self) -> list[dict[str, object]]:
        """Public keys that are served now (RFC 7517 §5), each with the second until which it may sign."""
        self._refresh()
        now = self._clock.now()
        live = [served.row for served in self._served.values() if now < served.serve_until]
        return [
            {**json_strict.loads(row.jwk), "kid": row.kid, "use": "sig", "sign_until": row.sign_until} for row in live
        ]

    def live_instances(self, now: float) -> set[str]:
        """Processes other than this one whose lease to sign runs on this store."""
        rows = self._store.read(lambda tx: tx.keys())
        return {row.instance for row in rows if self._signs(row, now)} - {self.instance}

    def end(self) -> None:
        """An orderly exit ends the lease now; the key stays served for the tokens that it signed."""
        lease = self._leased.lease
        self._leased.forget()
        if lease is None:
            return
        own = int(self._clock.now())

        def operation(tx: WriteTx) -> None:
            now = max(own, tx.newest_time() // CLOCK_MILLIS)
            rows = tx.keys()
            if any(row.kid == lease.key.kid for row in rows):
                tx.put_key(self._row(lease, min(lease.sign_until, now)))

        try:
            self._store.write(operation)
        except DeputizeError:
            # The store is gone or read-only: the lease runs out by itself.
            return

    def _refresh(self) -> None:
        count = self._store.change_count()
        if count == self._seen:
            return
        served: dict[str, Served] = {}
        for row in self._store.read(_unrevoked):
            key = self._load(row)
            if key is not None:
                served[row.kid] = Served(key.until(row.sign_until), row.sign_until, row.serve_until, row)
            else:
                self._tell_of(row)
        self._served = served
        self._seen = count

    def _load(self, row: KeyRow) -> VerifyingKey | None:
        """The key of a row that holds; what was checked once is not checked again while nothing in it changes."""
        known = self._served.get(row.kid)
        if known is not None and known.row == row:
            return known.key
        key = proved_key(row.kid, row.jwk, row.instance, row.sign_from, row.proof)
        if key is None:
            return None
        return key if self.anchor.accepts(self._endorsed(row, key.alg), row.endorsement) else None

    def _signs(self, row: KeyRow, now: float) -> bool:
        """Whether some process may sign by this row: a row that does not hold is nobody's."""
        return row.use == "sig" and now < row.sign_until and self._load(row) is not None

    def _tell_of(self, row: KeyRow) -> None:
        """A row that does not hold is a security event: recorded once on a store, and so many at most."""
        if row.kid in self._told or len(self._told) >= MOST_TOLD:
            return
        self._told.add(row.kid)
        kid, now = row.kid[:128], self._clock.now()

        def operation(tx: WriteTx) -> None:
            if kid in (_kid_of(record) for record in tx.find(type="key.refused", limit=1000)):
                return
            append(
                tx,
                Event(
                    type="key.refused",
                    outcome="denied",
                    time=max(int(now * CLOCK_MILLIS), tx.newest_time()),
                    policies=("key-proof",),
                    detail={"kid": kid, "anchor": self.anchor.name},
                ),
            )

        self._store.write(operation)

    def _row(self, lease: Lease[LocalKey], until: int) -> KeyRow:
        """The row of this process's key, which signs until `until` and is served for what it signed."""
        key = lease.key
        row = KeyRow(
            kid=key.kid,
            use="sig",
            jwk=json_strict.dumps(key.public_jwk()),
            sign_from=lease.sign_from,
            sign_until=until,
            serve_until=lease.sign_until + self._longest + LEEWAY,
            instance=self.instance,
        )
        return replace(
            row,
            endorsement=self.anchor.endorse(self._endorsed(row, key.alg)),
            proof=key.sign(statement(row.kid, key.alg, row.instance, row.sign_from)),
        )

    def _endorsed(self, row: KeyRow, alg: str) -> bytes:
        """What an anchor endorses: {issuer, thumbprint, alg, sign_from, sign_until, instance}."""
        signed = statement(row.kid, alg, row.instance, row.sign_from, row.sign_until)
        return json_strict.dumps({"issuer": self._issuer}) + b"\n" + signed

    def _publish(self, lease: Lease[LocalKey]) -> None:
        row = self._row(lease, lease.sign_until)
        now = self._clock.now()

        def operation(tx: WriteTx) -> None:
            rows = tx.keys()
            for old in rows:
                if now >= old.serve_until and old.use == "sig":
                    tx.drop_key(old.kid)
            live = sum(1 for old in rows if old.kid != row.kid and self._signs(old, now))
            if live >= LIVE_KEYS_MAX:
                raise StoreError(f"{LIVE_KEYS_MAX} processes already sign on this store", code="too_many_keys")
            renewed = any(old.kid == row.kid for old in rows)
            tx.put_key(row)
            millis = max(int(now * CLOCK_MILLIS), tx.newest_time())
            detail: dict[str, Json] = {"kid": row.kid, "jwk": row.jwk.decode(), "sign_until": row.sign_until}
            kind = "key.renewed" if renewed else "key.published"
            append(
                tx,
                Event(type=kind, outcome="noted", time=millis, detail={**detail, "anchor": self.anchor.name}),
            )

        self._store.write(operation, sync=True)


def _unrevoked(tx: ReadTx) -> list[KeyRow]:
    published = tx.keys()
    rows = [row for row in published if row.use == "sig"]
    cut = {entry.id for entry in tx.revoked_among([row.kid for row in rows]) if entry.kind is Kind.KEY}
    return [row for row in rows if row.kid not in cut]


def _kid_of(record: Record) -> object:
    try:
        detail = open_body(record).get("detail")
    except DeputizeError:
        return None  # `verify` tells what was done to it
    return detail.get("kid") if isinstance(detail, dict) else None
