"""Who made a connection over a Unix-domain socket, by the kernel's word (Linux, `SO_PEERCRED`, unix(7)).

The user and the group are what the kernel vouches for. The *program* is not attested, on purpose: the credentials are
of whoever called `connect`, which may become another program afterwards, or hand the connection to another process;
and any process of the same user can put its own code into an honest program (`LD_PRELOAD`, `PYTHONPATH`, ptrace). A
digest of the executable would tell honest mistakes apart and no attack. What has to be kept apart gets a user of its
own.
"""

import socket
import struct
import sys

from deputize.model.failure import AttestationFailed
from deputize.model.request import PeerCredentials

_UCRED = struct.Struct("3i")  # pid, uid, gid: struct ucred


def peer_of(connection: socket.socket) -> PeerCredentials:
    """The credentials of the process that connected. Raises AttestationFailed for any other kind of connection."""
    if sys.platform != "linux" or connection.family != socket.AF_UNIX:
        raise AttestationFailed("peer credentials are those of a Unix-domain socket on Linux")
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        raise AttestationFailed("the kernel does not say who is at the other end") from None
    pid, uid, gid = _UCRED.unpack(raw)
    return PeerCredentials(uid=uid, gid=gid, pid=pid)
