"""A Workload API on a Unix socket, as an agent of a trust domain serves it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from spiffe._proto import workload_pb2, workload_pb2_grpc

from deputize.system import SystemClock
from deputize.testing import FakeClock
from deputize.wire import jws
from deputize.wire.alg import LocalKey, generate


class WorkloadApi(workload_pb2_grpc.SpiffeWorkloadAPIServicer):  # type: ignore[misc]  # generated without types
    """Hands out SVIDs of one workload, and the bundle that they are checked with."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.key = generate()
        self.published: list[LocalKey] = [self.key]
        self.domain = "prod.example"
        self.asked: list[str] = []
        self.registered = True

    def FetchJWTSVID(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # the service's name
        self._enter("svid", context)
        now = int(self.clock.now())
        sub = f"spiffe://{self.domain}/ns/churn/sa/agents"
        claims = {"sub": sub, "aud": list(request.audience), "iat": now, "exp": now + 300, "jti": generate().kid}
        token = jws.sign("JWT", claims, self.key)
        return workload_pb2.JWTSVIDResponse(svids=[workload_pb2.JWTSVID(spiffe_id=sub, svid=token)])

    def FetchJWTBundles(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # the same
        del request
        self._enter("bundle", context)
        keys = [{**key.public_jwk(), "kid": key.kid, "use": "jwt-svid"} for key in self.published]
        bundles = {f"spiffe://{self.domain}": json.dumps({"keys": keys}).encode()}
        yield workload_pb2.JWTBundlesResponse(bundles=bundles)

    def _enter(self, what: str, context: grpc.ServicerContext) -> None:
        self.asked.append(what)
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no security header")
        if not self.registered:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")


@pytest.fixture
def clock() -> FakeClock:
    """It stands, but at the machine's time: the SPIFFE library looks at expiry by that."""
    return FakeClock(SystemClock().now())


@pytest.fixture
def workload_api(clock: FakeClock, tmp_path: Path) -> Iterator[tuple[WorkloadApi, str]]:
    """The service, and its address."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        service = WorkloadApi(clock)
        workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(service, server)
        address = f"unix://{tmp_path}/api.sock"
        server.add_insecure_port(address)
        server.start()
        yield service, address
        server.stop(None).wait()
