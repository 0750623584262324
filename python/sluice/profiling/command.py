"""python3 -m sluice profile: runs a program unchanged, and says where its steps spend their time."""
import argparse
import json
import os
import runpy
import signal
import sys
import traceback

from sluice.profiling import _limits, _pages, _steps
from sluice.profiling._recorder import Recorder

_DESCRIPTION = """Runs a program unchanged, traces some of its steps, and prints the time of a step by op, by node and by gap, beside what the
machine can do at most. Writes a Chrome trace, a flame graph and a roofline. Steps in other processes that the program
starts are not seen."""


def main(arguments):
  parser = argparse.ArgumentParser(
      prog="sluice profile", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
      usage="python3 -m sluice profile [options] PROGRAM [ARGUMENTS...]\n       python3 -m sluice profile [options] -m MODULE [ARGUMENTS...]")
  parser.add_argument("--steps", type=int, default=10, metavar="N", help="trace N steps of each kind (default 10)")
  parser.add_argument("--warmup", type=int, default=5, metavar="N", help="after N steps of that kind (default 5)")
  parser.add_argument("--output", default="sluice_profile", metavar="DIR", help="write files there (default ./sluice_profile)")
  parser.add_argument("--top", type=int, default=15, metavar="N", help="print N rows of each table (default 15)")
  parser.add_argument("--kind", type=int, default=1, metavar="N", help="look into the N-th kind of step in the table of what ran (default 1)")
  parser.add_argument("--json", action="store_true", help="print the report as JSON alone; what the program prints goes to stderr")
  parser.add_argument("--limits", action="store_true", help="measure the machine's limits again")
  parser.add_argument("-m", dest="module", action="store_true", help="PROGRAM is the name of a module")
  parser.add_argument("program", metavar="PROGRAM")
  parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS")
  asked = parser.parse_args(arguments)
  for name, least in (("steps", 1), ("warmup", 0), ("top", 1), ("kind", 1)):
    if getattr(asked, name) < least:
      parser.error("--%s is %d, wanted at least %d" % (name, getattr(asked, name), least))
  if not asked.module and not os.path.isfile(asked.program):
    parser.error("there is no program '%s'" % asked.program)
  folder = os.path.abspath(asked.output)
  try:
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "profile.json"), "a", encoding="utf-8"):
      pass
  except OSError as e:
    parser.error("--output cannot be written: %s" % e)

  limits = _limits.find(asked.limits, _say)  # before the program makes the machine busy
  recorder = Recorder(asked.steps, asked.warmup)
  status, ending = _run(asked, recorder)
  report = _report(asked, recorder, limits, ending, folder)
  if asked.json:
    print(json.dumps(report, indent=1))
  else:
    print(text_of(report, asked.top))
  sys.stdout.flush()
  return status


def _say(text):
  print("sluice profile: " + text, file=sys.stderr)


class _Terminated(SystemExit):
  pass


def _run(asked, recorder):
  """(exit code, how the program ended, None when well), whatever it does."""
  def terminated(number, frame):
    raise _Terminated(128 + number)

  kept_argv, kept_path, kept_out = sys.argv, list(sys.path), None
  sys.stdout.flush()
  out = sys.stdout
  if asked.json:  # also what libraries and children print
    kept_out = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
  previous = signal.signal(signal.SIGTERM, terminated) if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL else None
  status, ending = 0, None
  recorder.start()
  try:
    sys.argv = [asked.program] + asked.arguments
    if asked.module:
      sys.path.insert(0, os.getcwd())
      runpy.run_module(asked.program, run_name="__main__", alter_sys=True)
    else:
      sys.path.insert(0, os.path.dirname(os.path.abspath(asked.program)))
      runpy.run_path(asked.program, run_name="__main__")
  except _Terminated as e:
    status, ending = e.code, "it was terminated by a signal"
  except SystemExit as e:
    status = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
    if status:
      ending = "it ended with status %d" % status + ("" if isinstance(e.code, int) else ": %s" % e.code)
  except KeyboardInterrupt:
    status, ending = 130, "it was interrupted"
  except BaseException as e:  # the program's own, shown as Python would
    status, ending = 1, "it failed with %s: %s" % (type(e).__name__, e)
    _print_error(e)
  finally:
    recorder.stop()
    sys.argv, sys.path[:] = kept_argv, kept_path
    if previous is not None:
      signal.signal(signal.SIGTERM, previous)
    sys.stdout.flush()
    sys.stdout = out
    if kept_out is not None:
      os.dup2(kept_out, 1)
      os.close(kept_out)
  return status, ending


def _print_error(error):
  """Without the frames of this command and of runpy."""
  frames = error.__traceback__
  while frames is not None and (frames.tb_frame.f_code.co_filename == __file__ or "runpy" in frames.tb_frame.f_code.co_filename):
    frames = frames.tb_next
  traceback.print_exception(type(error), error, frames)


def _report(asked, recorder, limits, ending, folder):
  # What repeats comes first, and a first step, which also makes the plan, counts last.
  ran = sorted((k for k in recorder.kinds if k.count), key=lambda k: (-(k.total - (k.cold.wall if k.cold else 0)), -k.total))
  report = {"program": [asked.program] + asked.arguments, "ending": ending, "machine": limits.measured if limits else None,
            "kinds": [_steps.summary(k) for k in ran], "step": None, "files": {}, "notes": []}
  notes = report["notes"]
  if ending:
    notes.append("the program did not end well (%s); this is what ran until then" % ending.split("\n")[0][:200])
  if not ran:
    notes.append("the program ran no step of a session in this process")
  elif asked.kind > len(ran):
    notes.append("there are only %d kinds of steps" % len(ran))
  else:
    kind = ran[asked.kind - 1]
    step, kernels = _steps.analyse(kind, limits)
    report["step"] = step
    if step is None:
      notes.append("no step of '%s' could be traced" % kind.name())
    else:
      if step["is_cold"]:
        notes.append("'%s' ran only %d time%s, and %d steps are warm-up: this is its first step, which also makes the plan"
                     " (a smaller --warmup traces warm ones)" % (kind.name(), kind.count, "s" if kind.count > 1 else "", asked.warmup))
      elif len(kind.traced) < asked.steps:
        notes.append("%d steps were traced, not %d: '%s' ran only %d times" % (len(kind.traced), asked.steps, kind.name(), kind.count))
      if step["kernels_without_cost"]:
        notes.append("%.3g kernels of a step have shapes that are not known; their rates are left out" % step["kernels_without_cost"])
      if step["untraced_us"] and step["us"] > 1.1 * step["untraced_us"]:
        notes.append("kernels of traced steps took longer than whole steps beside them (%.4g us): the machine is busy with something"
                     " else, and figures are rough" % step["untraced_us"])
      if not kernels:
        notes.append("a step of '%s' runs no kernel" % kind.name())
  _write_files(report, ran, limits, folder, asked.kind)
  return report


def _write_files(report, ran, limits, folder, number):
  contents = {}
  if report["step"] is not None:
    contents["trace"] = "trace.json", _chrome_trace(ran[number - 1])
    contents["flame graph"] = "flame.html", _pages.flame_page(report["step"])
    contents["roofline"] = "roofline.html", _pages.roofline_page(report["step"], limits)
  report["files"] = {name: os.path.join(folder, file) for name, (file, _) in contents.items()}
  report["files"]["report"] = os.path.join(folder, "profile.json")
  contents["report"] = "profile.json", json.dumps(report, indent=1)
  for name, (file, content) in contents.items():
    try:
      with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
        f.write(content)
    except OSError as e:
      _say("the %s was not written: %s" % (name, e))
      del report["files"][name]


def _chrome_trace(kind):
  """The traced steps, and above them the calls that asked for them."""
  from sluice.protos import step_stats_pb2
  from sluice.timeline import Timeline
  merged, devices, calls = step_stats_pb2.StepStats(), {}, []
  for step in kind.traced or [kind.cold]:
    for device in _steps.parse(step).dev_stats:
      if device.device not in devices:
        devices[device.device] = merged.dev_stats.add(device=device.device)
      devices[device.device].node_stats.extend(device.node_stats)
    offset = step.native_begin_unix - step.native_begin
    for name, begin, end in ((kind.name(), step.begin, step.end), ("runtime", step.native_begin, step.native_end)):
      calls.append({"name": name, "cat": "Python", "ph": "X", "pid": 1000, "tid": 0, "ts": (begin + offset) / 1e3, "dur": (end - begin) / 1e3})
  trace = json.loads(Timeline(merged, kind.graph).generate_chrome_trace_format(show_dataflow=len(kind.traced) <= 1))
  trace["traceEvents"] += [{"name": "process_name", "ph": "M", "pid": 1000, "tid": 0, "args": {"name": "Python"}}] + calls
  return json.dumps(trace)


# ---- text ------------------------------------------------------------------------------------------------------------


def _table(head, rows):
  """Columns as wide as they need; the first is text, like those whose head ends in a space."""
  widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
  text = lambda r: "  ".join(c.ljust(w) if i == 0 or head[i].endswith(" ") else c.rjust(w)  # noqa: E731
                             for i, (c, w) in enumerate(zip(r, widths))).rstrip()
  return "\n".join(text(r) for r in [head] + rows)


def _number(value, form="%.4g"):
  return "-" if value is None else form % value


def _rates(row):
  return [_number(row["gflops"], "%.1f"), _number(row["gbps"], "%.1f"), _number(row["percent_of_limit"], "%.0f"), row["bound_by"] or ""]


def text_of(report, top):
  """The report for people."""
  parts = ["", "profile of " + " ".join(report["program"])]
  machine = report["machine"]
  if machine:
    gflops, memory = machine["f32_gflops"], machine["levels"][-1]
    parts.append("%s, %d thread%s: at most %.0f GFLOP/s (%.0f on one), %.1f GB/s of memory read, %.1f copied"
                 % (machine["cpu"], machine["threads"], "s" if machine["threads"] > 1 else "", gflops[1], gflops[0],
                    memory["read_gbps"][1], memory["copy_gbps"][1]))
  parts += ["note: " + n for n in report["notes"]]
  if report["kinds"]:
    rows = [[k["name"][:70], str(k["steps"]), str(k["failed"] or ""), "%.1f" % k["total_ms"], _number(k["median_us"]), str(k["traced"])]
            for k in report["kinds"][:top]]
    parts += ["", _table(["what ran", "steps", "failed", "total ms", "median us", "traced"], rows)]
    if len(report["kinds"]) > top:
      parts.append("... and %d kinds more" % (len(report["kinds"]) - top))
  step = report["step"]
  if step is not None:
    parts += ["", _step_text(step, top)]
  if report["files"]:
    parts += ["", "files:"] + ["  %-12s %s" % item for item in report["files"].items()]
  return "\n".join(parts)


def _step_text(step, top):
  share = lambda us: "%5.1f %%" % (100 * us / step["us"] if step["us"] else 0)  # noqa: E731
  lines = ["a step of %s: %.4g us (%s; the faster half of the steps, averaged)"
           % (step["name"], step["us"], "untraced steps and traced kernels" if step["untraced_us"] else "traced steps")]
  for name, us in (("in kernels", step["kernels_us"]), ("in the runtime: dispatch, feeds, fetches", step["runtime_us"]), ("in Python", step["python_us"])):
    lines.append("  %-42s %10.2f us  %s" % (name, us, share(us)))
  lines.append("  while traced it takes %.4g us: %.4g before the first kernel, %.4g between kernels, %.4g after the last"
               % (step["traced_us"], step["traced_before_first_us"], step["traced_between_us"], step["traced_after_last_us"]))
  if step["flop"] or step["bytes"]:
    seconds = step["us"] / 1e6 or 1
    lines.append("  %.4g MFLOP and %.4g MB: %.4g GFLOP/s and %.4g GB/s over the step%s"
                 % (step["flop"] / 1e6, step["bytes"] / 1e6, step["flop"] / seconds / 1e9, step["bytes"] / seconds / 1e9,
                    "; its kernels at the machine's limits: %.4g us" % step["limit_us"] if step.get("limit_us") else ""))
  ops = [[r["name"], "%.4g" % r["runs"], "%.2f" % r["us"], "%.1f" % r["percent_of_step"], *_rates(r)] for r in step["ops"][:top]]
  nodes = [[r["name"], r["op"], r["line"], "%.2f" % r["us"], "%.1f" % r["percent_of_step"], *_rates(r)] for r in step["nodes"][:top]]
  gaps = [["after %s" % g["after"], "before %s" % g["before"], "%.4g" % g["runs"], "%.2f" % g["us"]] for g in step["gaps"][:top]]
  rates = ["GFLOP/s", "GB/s", "% of limit", "bound by "]
  lines += ["", _table(["by op", "runs", "us", "% of step", *rates], ops)]
  lines += ["", _table(["by node", "op ", "line ", "us", "% of step", *rates], nodes)]
  if len(step["nodes"]) > top:
    lines.append("... and %d nodes more" % (len(step["nodes"]) - top))
  if gaps:
    lines += ["", _table(["longest gaps (traced)", " ", "times", "us"], gaps)]
  return "\n".join(lines)
