"""Step statistics as a Chrome trace (chrome://tracing, ui.perfetto.dev)."""
import json
import re

_LABEL = re.compile(r"^\s*(\S+) = (\w+)\((.*)\)\s*$", re.DOTALL)


class Timeline:
    """The statistics of one step (RunMetadata.step_stats), for people to look at."""

    def __init__(self, step_stats, graph=None):
        self._step_stats = step_stats
        self._graph = graph

    def generate_chrome_trace_format(self, show_dataflow=True, show_memory=False):
        """The trace as JSON text. Each device is a process and each of its threads a row; arrows are data that flows
        from one node to another; `show_memory` adds a counter of the bytes that the outputs hold."""
        events, where = [], {}
        for pid, device in enumerate(self._step_stats.dev_stats):
            events.append(_meta("process_name", pid, 0, device.device))
            events.append({"name": "process_sort_index", "ph": "M", "pid": pid, "tid": 0, "args": {"sort_index": pid}})
            rows = _Rows()
            for stats in sorted(device.node_stats, key=lambda s: (_time(s)[0], s.node_name)):
                name, op, inputs = _parse(stats)
                start, duration = _time(stats)
                row = rows.place(stats.thread_id, start, start + duration)
                args = {"name": name, "op": op}
                args.update(("input%d" % i, text) for i, text in enumerate(inputs))
                if stats.all_start_micros and stats.scheduled_micros:
                    args["waited us"] = max(0, stats.all_start_micros - stats.scheduled_micros)
                held = sum(o.tensor_description.allocation_description.allocated_bytes for o in stats.output)
                if held:
                    args["output bytes"] = held
                events.append({"name": op, "cat": "Op", "ph": "X", "pid": pid, "tid": row, "ts": start,
                               "dur": duration, "args": args})
                where.setdefault(name, (pid, row, start, start + duration))
                if show_memory and held:
                    events.append({"name": "output bytes", "ph": "C", "pid": pid, "tid": 0, "ts": start + duration,
                                   "args": {"bytes": held}})
            for row, thread in sorted(rows.threads.items()):
                events.append(_meta("thread_name", pid, row, "thread %d" % thread))
        if show_dataflow:
            events += self._arrows(where)
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, indent=1)

    def _arrows(self, where):
        events, count = [], 0
        for device in self._step_stats.dev_stats:
            for stats in device.node_stats:
                name, _, inputs = _parse(stats)
                if not inputs and self._graph is not None:
                    inputs = self._graph_inputs(name)
                target = where.get(name)
                for source_name in inputs:
                    source = where.get(source_name.lstrip("^").partition(":")[0])
                    if source is None or target is None:
                        continue
                    count += 1
                    common = {"name": source_name, "cat": "DataFlow", "id": count}
                    events.append(dict(common, ph="s", pid=source[0], tid=source[1], ts=max(source[2], source[3] - 1)))
                    events.append(dict(common, ph="t", pid=target[0], tid=target[1], ts=target[2]))
        return events

    def _graph_inputs(self, name):
        try:
            return [t.name for t in self._graph.get_operation_by_name(name).inputs]
        except KeyError:
            return []


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


def _parse(stats):
    """(node, op, inputs) from the label "node = Op(inputs)", or what can be told from the node's name."""
    match = _LABEL.match(stats.timeline_label)
    if match:
        name, op, inputs = match.groups()
        return name, op, [i.strip() for i in inputs.split(",") if i.strip()]
    return stats.node_name, stats.timeline_label or stats.node_name.rpartition("/")[2], []


def _meta(kind, pid, tid, name):
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
