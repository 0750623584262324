"""Step statistics as a Chrome trace (chrome://tracing, ui.perfetto.dev), and in words."""
import collections
import json
import re

_LABEL = re.compile(r"^\s*(\S+) = (\w+)\((.*)\)\s*$", re.DOTALL)
# What is not a node, on the entries "<task>/rpc" (distributed/stats/step_trace.h).
_RPC = "/rpc"
_RECEIVE = re.compile(r"^\[(\d+) B over (\w+)\] (.*) from (\S+) to (\S+)$", re.DOTALL)
_RUN = re.compile(r"^\[busy (\d+) ns\] (\S+)$")
_CLOCK = re.compile(r"^offset (-?\d+) ns within (\d+) ns$")
_STRAGGLER = re.compile(r"^(.*) takes ([\d.]+) ms, its peers ([\d.]+) ms$")

Transfer = collections.namedtuple("Transfer", "source target edge bytes transport start end")


class Timeline:
    """The statistics of one step (RunMetadata.step_stats), for people to look at.

    Of a step in a cluster the times of all tasks are on one clock, the master's; how far each may be off stands beside
    the task's name. Arrows lead from each Send to its Recv.
    """

    def __init__(self, step_stats, graph=None):
        self._step_stats = step_stats
        self._graph = graph

    def generate_chrome_trace_format(self, show_dataflow=True, show_memory=False):
        """The trace as JSON text. Each device is a process and each of its threads a row; the calls of a task have a process
        of their own. Arrows are data that flows from one node to another; `show_memory` adds a counter of the bytes
        that the outputs hold."""
        events, where = [], {}
        clocks = {device: error for device, _, error in self._clocks()}
        for pid, device in enumerate(self._step_stats.dev_stats):
            calls = device.device.endswith(_RPC)
            events.append(_meta("process_name", pid, 0, device.device[:-len(_RPC)] + " calls" if calls else device.device))
            events.append({"name": "process_sort_index", "ph": "M", "pid": pid, "tid": 0, "args": {"sort_index": pid}})
            if _task_of(device.device) in clocks:
                events.append({"name": "process_labels", "ph": "M", "pid": pid, "tid": 0, "args": {
                    "labels": "clock within %.1f us" % (clocks[_task_of(device.device)] / 1e3)}})
            rows = _Rows()
            for stats in sorted(device.node_stats, key=lambda s: (_time(s)[0], s.node_name)):
                name, args, start, duration = self._describe(stats, calls)
                row = rows.place(stats.thread_id, start, start + duration)
                event = {"name": name, "cat": "RPC" if calls else "Op", "ph": "X", "pid": pid, "tid": row, "ts": start,
                         "dur": duration, "args": args}
                if calls and stats.node_name in ("clock", "straggler"):
                    event.update(ph="i", s="p")
                    del event["dur"]
                events.append(event)
                where.setdefault((pid, stats.node_name if calls else args["name"]), (pid, row, start, start + duration))
                held = args.get("output bytes", 0)
                if show_memory and held and not calls:
                    events.append({"name": "output bytes", "ph": "C", "pid": pid, "tid": 0, "ts": start + duration,
                                   "args": {"bytes": held}})
            for row, thread in sorted(rows.threads.items()):
                events.append(_meta("thread_name", pid, row, device.thread_names.get(thread) or "thread %d" % thread))
        if show_dataflow:
            events += self._arrows(where)
            events += self._transfers(where, len(events))
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": {
            "clock_error_us": {task: error / 1e3 for task, error in clocks.items()}}}, indent=1)

    @staticmethod
    def _describe(stats, calls):
        """(name, arguments, start, duration) of an event, in microseconds."""
        start, duration = _time(stats)
        if calls:
            args = {"name": stats.node_name, "label": stats.timeline_label}
            match = _RECEIVE.match(stats.timeline_label)
            if match:
                args.update(zip(("bytes", "transport", "edge", "from", "to"), match.groups()))
                args["bytes"] = int(args["bytes"])
            return stats.node_name, args, start, duration
        name, op, inputs = _parse(stats)
        args = {"name": name, "op": op}
        args.update(("input%d" % i, text) for i, text in enumerate(inputs))
        if stats.all_start_micros and stats.scheduled_micros:
            args["waited us"] = max(0, stats.all_start_micros - stats.scheduled_micros)
        held = sum(_bytes(o) for o in stats.output)
        if held:
            args["output bytes"] = held
        return op, args, start, duration

    def _clocks(self):
        """(task, offset, error) of each task's clock against the master's, in nanoseconds."""
        for device in self._step_stats.dev_stats:
            for stats in device.node_stats if device.device.endswith(_RPC) else ():
                match = _CLOCK.match(stats.timeline_label) if stats.node_name == "clock" else None
                if match:
                    yield _task_of(device.device), int(match.group(1)), int(match.group(2))

    def _arrows(self, where):
        """Arrows between the nodes of a device."""
        events, count, by_name = [], 0, {}
        for (_, name), place in where.items():
            by_name.setdefault(name, place)
        for pid, device in enumerate(self._step_stats.dev_stats):
            for stats in device.node_stats if not device.device.endswith(_RPC) else ():
                name, _, inputs = _parse(stats)
                if not inputs and self._graph is not None:
                    inputs = self._graph_inputs(name)
                target = where.get((pid, name))
                for source_name in inputs:
                    source_name = source_name.lstrip("^").partition(":")[0]
                    source = where.get((pid, source_name)) or by_name.get(source_name)
                    if source is None or target is None:
                        continue
                    count += 1
                    common = {"name": source_name, "cat": "DataFlow", "id": count}
                    events.append(dict(common, ph="s", pid=source[0], tid=source[1], ts=max(source[2], source[3] - 1)))
                    events.append(dict(common, ph="t", pid=target[0], tid=target[1], ts=target[2]))
        return events

    def _transfers(self, where, first):
        """Arrows from each Send to its Recv, on another device."""
        sends, receives, carried = {}, {}, {}
        for transfer in transfers(self._step_stats):
            carried[transfer.source, transfer.target, transfer.edge] = transfer
        for pid, device in enumerate(self._step_stats.dev_stats):
            for stats in device.node_stats:
                name, op, inputs = _parse(stats)
                edge, at, other = inputs[0].partition(" @") if len(inputs) == 1 else ("", "", "")
                if at and "Send" in op:
                    sends.setdefault((device.device, other, edge), where[pid, name])
                elif at and "Recv" in op:
                    receives.setdefault((other, device.device, edge), where[pid, name])
        events = []
        for number, (key, (pid, tid, start, end)) in enumerate(sends.items()):
            if key not in receives:
                continue
            to_pid, to_tid, asked, received = receives[key]
            transfer = carried.get(key)
            args = {"edge": key[2], "from": key[0], "to": key[1],
                    "transport": transfer.transport if transfer else "within the task"}
            if transfer:
                args["bytes"] = transfer.bytes
            common = {"name": key[2], "cat": "SendRecv", "id": first + number, "args": args}
            # Within the events that they bind to.
            events.append(dict(common, ph="s", pid=pid, tid=tid, ts=(start + end) / 2))
            events.append(dict(common, ph="f", bp="e", pid=to_pid, tid=to_tid, ts=max(asked, received - 0.001)))
        return events

    def _graph_inputs(self, name):
        try:
            return [t.name for t in self._graph.get_operation_by_name(name).inputs]
        except KeyError:
            return []


class StepReport:
    """What the statistics of a step say about its cluster, as numbers, and in words when printed.

    Attributes:
      tasks: {task: (seconds of its part, seconds without waiting, bound of its clock's error in seconds)}.
      wire: {(from task, to task, transport): (messages, bytes, seconds between asking and having)}: tensors from task to task,
        and feeds and fetches on their way between the master and the tasks; waits overlap.
      stragglers: {name: (seconds, median of its peers)}.
    """

    def __init__(self, step_stats):
        self.tasks, self.wire, self.stragglers = {}, {}, {}
        clocks = {task: error for task, _, error in Timeline(step_stats)._clocks()}
        for device in step_stats.dev_stats:
            for stats in device.node_stats if device.device.endswith(_RPC) else ():
                run, slow = _RUN.match(stats.timeline_label), _STRAGGLER.match(stats.timeline_label)
                if stats.node_name == "RunGraph" and run:
                    self.tasks[run.group(2)] = (_time(stats)[1] / 1e6, int(run.group(1)) / 1e9,
                                                clocks.get(run.group(2), 0) / 1e9)
                elif stats.node_name == "straggler" and slow:
                    self.stragglers[slow.group(1)] = (float(slow.group(2)) / 1e3, float(slow.group(3)) / 1e3)
        for t in _received(step_stats, ("RecvTensor", "Feeds", "Fetches")):
            key = _task_of(t.source), _task_of(t.target), t.transport
            messages, size, seconds = self.wire.get(key, (0, 0, 0.0))
            self.wire[key] = messages + 1, size + t.bytes, seconds + (t.end - t.start) / 1e6

    def __str__(self):
        lines = []
        for task, (seconds, busy, error) in sorted(self.tasks.items()):
            lines.append("%s: %.3f ms, of which %.3f ms were work (clock within %.1f us)" % (
                task, 1e3 * seconds, 1e3 * busy, 1e6 * error))
        for (source, target, transport), (messages, size, seconds) in sorted(self.wire.items()):
            lines.append("%s -> %s over %s: %d messages, %d bytes, %.3f ms between asking and having" % (
                source, target, transport, messages, size, 1e3 * seconds))
        for name, (seconds, median) in sorted(self.stragglers.items()):
            lines.append("straggler: %s takes %.1f ms, its peers %.1f ms" % (name, 1e3 * seconds, 1e3 * median))
        return "\n".join(lines)


def transfers(step_stats):
    """The tensors that went from one task to another along edges of the graph, as a list of Transfer; times in microseconds."""
    return _received(step_stats, ("RecvTensor",))


def _received(step_stats, names):
    found = []
    for device in step_stats.dev_stats:
        for stats in device.node_stats if device.device.endswith(_RPC) else ():
            match = _RECEIVE.match(stats.timeline_label) if stats.node_name in names else None
            if match:
                size, transport, edge, source, target = match.groups()
                found.append(Transfer(source, target, edge, int(size), transport, _time(stats)[0],
                                      sum(_time(stats))))
    return found


class _Rows:
    """Rows of the trace: one for each thread, and a further one where the statistics of a thread overlap."""

    def __init__(self):
        self._ends = []  # (thread, end of the last event) for each row
        self.threads = {}

    def place(self, thread, start, end):
        for row, (owner, last) in enumerate(self._ends):
            if owner == thread and last <= start:
                self._ends[row] = (thread, end)
                return row
        self._ends.append((thread, end))
        self.threads[len(self._ends) - 1] = thread
        return len(self._ends) - 1


def _time(stats):
    """(begin, duration) in microseconds, with fractions where the statistics have nanoseconds."""
    if stats.all_start_nanos:
        return stats.all_start_nanos / 1000, stats.all_end_rel_nanos / 1000
    return stats.all_start_micros, max(1, stats.all_end_rel_micros)


def _bytes(output):
    held = output.tensor_description.allocation_description
    return held.allocated_bytes or held.requested_bytes


def _task_of(device):
    return device.partition("/device:")[0].partition(_RPC)[0]


def _parse(stats):
    """(node, op, inputs) from the label "node = Op(inputs)", or what can be told from the node's name."""
    match = _LABEL.match(stats.timeline_label)
    if match:
        name, op, inputs = match.groups()
        return name, op, [i.strip() for i in inputs.split(",") if i.strip()]
    return stats.node_name, stats.timeline_label or stats.node_name.rpartition("/")[2], []


def _meta(kind, pid, tid, name):
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
