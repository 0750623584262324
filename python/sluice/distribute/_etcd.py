"""A client of etcd's version 3 API (KV, Lease, Watch) over the runtime's gRPC, with the messages written by hand.

    client = Client(["localhost:2379"])
    lease = client.grant(10)
    created, _ = client.transact([absent("/run/chief")], [put("/run/chief", b"me", lease)])
    with client.watch("/run/", revision) as watch:
        for event in watch.events(timeout=1.0): ...

Keys are texts, values bytes. Every call ends within `timeout` seconds, whatever etcd does; the error says which etcd, and
what was asked. A call that found nobody is made again, at the next address, until then: whoever asks must be prepared to
have asked twice (all that is written here is).
"""
import collections
import time

from sluice import _wire
from sluice import errors
from sluice._native import _sluice

KeyValue = collections.namedtuple("KeyValue", "key value create_revision mod_revision lease")
Event = collections.namedtuple("Event", "deleted kv")

_EQUAL = 0
_CREATE, _MOD = 1, 2  # Compare.CompareTarget
_PAUSE = 0.1
_LOST = (errors.UnavailableError, errors.DeadlineExceededError, errors.InternalError, errors.UnknownError,
         errors.ResourceExhaustedError)


_TLS_HELP = "; the root certificates are in the file that SLUICE_ETCD_CACERT names, this task's certificate and key in those " \
    "of SLUICE_ETCD_CERT and SLUICE_ETCD_KEY"


class CompactedError(Exception):
    """A watch began at a revision that etcd has dropped; `revision` is the oldest one it has."""

    def __init__(self, revision):
        super().__init__("compacted at revision %d" % revision)
        self.revision = revision


# ---- What a transaction compares and does.

def absent(key):
    """The condition that a key is not there."""
    return _wire.encode((1, _EQUAL), (2, _CREATE), (3, key), (5, 0))


def unchanged(key, mod_revision):
    """The condition that a key was last written at a revision (0: is not there)."""
    return _wire.encode((1, _EQUAL), (2, _MOD), (3, key), (6, mod_revision))


def put(key, value, lease=0):
    """The operation that writes a key, which goes away with its lease."""
    return _wire.encode((2, _put(key, value, lease)))


def get(key):
    """The operation that reads a key."""
    return _wire.encode((1, _wire.encode((1, key))))


def delete(key):
    """The operation that removes a key."""
    return _wire.encode((3, _wire.encode((1, key))))


class Client:
    """Asks an etcd.

    Args:
      addresses: "host:port" of its members, any of which will do.
      timeout: seconds that a call may take.
      tls: (root certificates, certificate, key), PEM texts; without the first there is no TLS. Errors say what is wrong with the
        certificates of either side.
    """

    def __init__(self, addresses, timeout=5.0, tls=("", "", "")):
        self.addresses, self.timeout, self._tls = list(addresses), timeout, tuple(tls)
        self._current = 0

    def __str__(self):
        return "etcd at " + ",".join(self.addresses)

    def get(self, key, timeout=None):
        """The KeyValue, or None."""
        found = _all(self._call("KV/Range", _wire.encode((1, key)), timeout), 2)
        return _key_value(found[0]) if found else None

    def get_all(self, prefix):
        """(the KeyValues whose keys begin so, the revision of etcd)."""
        response = self._call("KV/Range", _wire.encode((1, prefix), (2, _after(prefix))))
        return [_key_value(kv) for kv in _all(response, 2)], _revision(response)

    def put(self, key, value, lease=0):
        self._call("KV/Put", _put(key, value, lease))

    def delete(self, key):
        self._call("KV/DeleteRange", _wire.encode((1, key)))

    def transact(self, conditions, then, otherwise=()):
        """(whether the conditions held, revision): `then` was done if they did, `otherwise` if not, all at once."""
        response = self._call("KV/Txn", _wire.encode(*[(1, c) for c in conditions], *[(2, o) for o in then],
                                                     *[(3, o) for o in otherwise]))
        return bool(_one(response, 2, 0)), _revision(response)

    def grant(self, seconds):
        """The number of a new lease, which ends after `seconds` unless it is kept alive."""
        response = self._call("Lease/LeaseGrant", _wire.encode((1, int(seconds)), (2, 0)))
        return _one(response, 2, 0)

    def revoke(self, lease):
        """Ends a lease, and removes its keys."""
        self._call("Lease/LeaseRevoke", _wire.encode((1, lease)))

    def keep_alive(self, lease, timeout=None):
        """The seconds that the lease lasts from now; 0 when it has ended."""
        return _one(self._call("Lease/LeaseKeepAlive", _wire.encode((1, lease)), timeout), 3, 0)

    def watch(self, prefix, revision):
        """A Watch of all keys that begin so, from a revision on."""
        return Watch(self, prefix, revision)

    # The calls.
    def _call(self, method, request, timeout=None):
        timeout = self.timeout if timeout is None else timeout
        deadline, asked = time.monotonic() + timeout, set()
        while True:
            address = self.addresses[self._current % len(self.addresses)]
            left = deadline - time.monotonic()
            # A member that does not answer leaves time for the others.
            share = left if len(asked) + 1 >= len(self.addresses) else left / (len(self.addresses) - len(asked))
            try:
                return self._call_once(address, method, request, max(share, 0.01))
            except _LOST as e:
                self._current += 1
                asked.add(address)
                if time.monotonic() + _PAUSE > deadline:
                    raise errors.UnavailableError(
                        None, None, "%s did not answer %s within %.3g s; is it running, and is the address right? Last "
                        "error: %s%s" % (self, method, timeout, e.message, _tls_help(e.message))) from None
                time.sleep(_PAUSE)

    def _call_once(self, address, method, request, timeout):
        call = self.start(address, method, timeout)
        call.send(request, True, timeout)
        return call.receive(timeout)

    def start(self, address, method, timeout):
        """A call of one member; 0: without an end."""
        try:
            return _sluice.Rpc(address, "/etcdserverpb." + method, *self._tls, float(timeout))
        except (errors.FailedPreconditionError, errors.InvalidArgumentError) as e:
            raise type(e)(None, None, "%s: %s%s" % (self, e.message, _tls_help(e.message))) from None

    def address(self):
        """The member that answered last, or the next one to try."""
        return self.addresses[self._current % len(self.addresses)]

    def next_address(self):
        self._current += 1


class Watch:
    """The changes of the keys that begin with a prefix. After an error of `events` it is of no more use."""

    def __init__(self, client, prefix, revision):
        self._client, self.revision = client, revision
        self._call = client.start(client.address(), "Watch/Watch", 0)
        try:
            self._call.send(_wire.encode((1, _wire.encode((1, prefix), (2, _after(prefix)), (3, revision)))), False,
                            client.timeout)
        except errors.OpError:
            client.next_address()
            raise

    def events(self, timeout):
        """The next changes, in their order; none when nothing changes within `timeout` seconds."""
        try:
            response = self._call.receive(timeout)
        except errors.DeadlineExceededError:
            return []
        except errors.OpError:
            self._client.next_address()
            raise
        compacted = _one(response, 5, 0)
        if compacted:
            raise CompactedError(compacted)
        if _one(response, 4, 0):
            raise errors.UnavailableError(None, None, "%s ended a watch: %s" % (
                self._client, _one(response, 6, b"").decode(errors="replace")))
        self.revision = _revision(response) + 1
        return [Event(bool(_one(e, 1, 0)), _key_value(_one(e, 2, b""))) for e in _all(response, 11)]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._call.cancel()


def _tls_help(message):
    return _TLS_HELP if "TLS" in message or "certificate" in message else ""


# ---- Messages: field numbers of etcdserverpb and mvccpb.

def _put(key, value, lease):
    return _wire.encode((1, key), (2, value), (3, lease))


def _after(prefix):
    """The end of the range of keys that begin with `prefix`."""
    data = prefix.encode()
    return data[:-1] + bytes([data[-1] + 1])  # keys end in a letter or a slash, never in 0xff


def _all(message, number):
    return [value for n, value in _wire.decode(message) if n == number]


def _one(message, number, default):
    found = _all(message, number)
    return found[-1] if found else default


def _revision(response):
    return _one(_one(response, 1, b""), 3, 0)


def _key_value(message):
    fields = dict(_wire.decode(message))
    return KeyValue(fields.get(1, b"").decode(), fields.get(5, b""), fields.get(2, 0), fields.get(3, 0), fields.get(6, 0))
