"""The numbers of one task at one time: WorkerStateResponse of distributed/proto/worker.proto, without the protobuf package."""
import struct
import time

from sluice import _wire

_WINDOW_BUCKETS_PER_OCTAVE, _SMALLEST = 16, 1e-6  # core/base/step_times.h


class State:
    """What a task said when it was asked. Times are in seconds, sizes in bytes."""

    def __init__(self, data=b""):
        self.at = time.monotonic()
        self.sessions, self.steps, self.wire, self.stragglers, self.masters = 0, [], [], [], []
        self.times, self.busy, self.effective = {}, {}, None
        values = {}
        for number, value in _wire.decode(data):
            if number == 1:
                self.sessions += 1
            elif number == 2:
                self.steps.append(_step(value))
            elif number == 3:
                fields = dict(_wire.decode(value))
                self.wire.append({"from": _text(fields, 1), "over": _text(fields, 4), "tensors": fields.get(2, 0),
                                  "bytes": fields.get(3, 0), "wait": _double(fields, 5)})
            elif number in (17, 18):
                self.times, self.busy = (_counts(value), self.busy) if number == 17 else (self.times, _counts(value))
            elif number == 19:
                self.stragglers.append(_straggler(value))
            elif number == 20:
                self._add_master(value)
            elif number == 21:
                fields = dict(_wire.decode(value))
                self.effective = {name: _double(fields, n) for n, name in enumerate(
                    ("wall", "productive", "detect", "restart", "restore", "reexecute"), 1)}
                self.effective["failures"] = fields.get(7, 0)
            else:
                values[number] = value
        self.done, self.failed, self.refused, self.live, self.peak = (values.get(n, 0) for n in (4, 5, 6, 7, 8))
        self.p50, self.p90, self.p99 = (_double(values, n) for n in (9, 10, 11))
        self.incarnation = struct.unpack("<Q", values[12])[0] if 12 in values else 0
        self.uptime, self.heard = _double(values, 13), _double(values, 14)
        self.last_error, self.last_error_age = _text(values, 15), _double(values, 16)

    def _add_master(self, data):
        for number, value in _wire.decode(data):
            if number == 2:
                self.stragglers.append(_straggler(value))
            elif number == 1:
                session = {"handle": "", "tasks": [], "running": 0, "done": 0, "stuck": ""}
                for field, v in _wire.decode(value):
                    if field == 2:
                        fields = dict(_wire.decode(v))
                        session["tasks"].append({
                            "task": short(_text(fields, 1)), "heard": _double(fields, 2), "lost": _text(fields, 8),
                            "clock_offset": _signed(fields.get(3, 0)) / 1e9, "clock_error": fields.get(4, 0) / 1e9,
                            "busy_p50": _double(fields, 5), "busy_p90": _double(fields, 6), "busy_p99": _double(fields, 7)})
                    elif field in (1, 5):
                        session["handle" if field == 1 else "stuck"] = v.decode(errors="replace")
                    else:
                        session[{3: "running", 4: "done"}.get(field, "other")] = v
                self.masters.append(session)

    @property
    def received(self):
        return sum(w["bytes"] for w in self.wire)


def percentile(counts, share):
    """Of {bucket: count}, of one task or of several added up; seconds."""
    rank, below = min(sum(counts.values()) - 1, int(share * sum(counts.values()))), 0
    for bucket in sorted(counts):
        below += counts[bucket]
        if below > rank:
            return _SMALLEST * 2 ** ((bucket + 0.5) / _WINDOW_BUCKETS_PER_OCTAVE)
    return 0.0


def merged(many):
    """The counts of several tasks, added up."""
    total = {}
    for counts in many:
        for bucket, count in counts.items():
            total[bucket] = total.get(bucket, 0) + count
    return total


def short(task):
    """"ps/0" for "/job:ps/replica:0/task:0"; anything else as it is."""
    parts = dict(p.partition(":")[::2] for p in task.strip("/").split("/"))
    return "%s/%s" % (parts["job"], parts["task"]) if "job" in parts and "task" in parts else task


def _step(data):
    fields = _wire.decode(data)
    numbers = dict(fields)
    return {"id": numbers.get(1, 0), "seconds": _double(numbers, 2), "completed": numbers.get(4, 0),
            "waiting_for": [v.decode(errors="replace") for n, v in fields if n in (3, 5)],
            "running": _text(numbers, 6)}


def _straggler(data):
    fields = dict(_wire.decode(data))
    return {"name": short(_text(fields, 1)), "what": _text(fields, 2), "seconds": _double(fields, 3),
            "median": _double(fields, 4)}


def _counts(packed):
    numbers, at = [], 0
    while at < len(packed):
        value, at = _wire.read_varint(packed, at)
        numbers.append(value)
    return dict(zip(numbers[::2], numbers[1::2]))


def _double(fields, number):
    return struct.unpack("<d", fields[number])[0] if number in fields else 0.0


def _text(fields, number):
    return fields.get(number, b"").decode(errors="replace")


def _signed(value):
    return value - (1 << 64) if value >> 63 else value
