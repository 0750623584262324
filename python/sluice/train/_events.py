"""Reading event files."""
from sluice import _records


def summary_iterator(path):
    """The Event messages of an event file."""
    from sluice.protos import event_pb2
    with open(path, "rb") as f:
        for payload in _records.read_records(f, path):
            event = event_pb2.Event()
            event.ParseFromString(payload)
            yield event
