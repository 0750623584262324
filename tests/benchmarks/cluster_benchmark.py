"""B16, B17: steps of a small cluster on this machine, beside TensorFlow's in the same run.

    ./dev bench --peers cluster
    ./dev python tests/benchmarks/cluster_benchmark.py [--peers] [--rounds 3] [--transport grpc]

A step pulls a variable from the parameter server to each worker, makes a gradient there, and applies the sum: a scalar with 1
and 4 workers (the null step of the OSDI'16 paper), 100 MB, and 32 rows of a table of 1,000,000 x 64. Processes on loopback;
medians; libraries take turns.
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PEERS = pathlib.Path(os.environ.get("SLUICE_PEERS", pathlib.Path.home() / ".cache/sluice/peers"))
# workers, figure, what it says, at least, aim (milliseconds)
ROWS = [
    (1, "null", "B17 null step, 1 worker", 0.4, 0.12),
    (4, "null", "B17 null step, 4 workers", 1.5, 0.4),
    (1, "dense_100mb", "B16 pull and push 100 MB", 45, 25),
    (1, "sparse_32_rows", "B16 32 rows of 1 M x 64", 0.45, 0.15),
]


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def measure(library, python, workers, environment):
    addresses = ",".join("localhost:%d" % p for p in free_ports(1 + workers))
    start = lambda job, task, **more: subprocess.Popen(
        [python, str(HERE / "cluster_program.py"), library, addresses, job, str(task)], env=environment, **more)
    others = [start("ps", 0, stderr=subprocess.DEVNULL)] + [start("worker", w, stderr=subprocess.DEVNULL)
                                                            for w in range(1, workers)]
    try:
        first = start("worker", 0, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = first.communicate(timeout=300)
        if first.returncode != 0:
            raise SystemExit("%s with %d workers failed:\n%s" % (library, workers, err[-2000:]))
        return json.loads(out.strip().splitlines()[-1])
    finally:
        for process in others:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="TensorFlow too, from the peers' environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--transport", default="", help="inproc, shm, unix, tcp or grpc; by default what the tasks find")
    options = parser.parse_args()
    libraries = {"sluice": sys.executable}
    if options.peers and (PEERS / "bin/python").exists():
        libraries["tensorflow"] = str(PEERS / "bin/python")
    found = {}
    for _ in range(options.rounds):
        for workers in (1, 4):
            for library, python in libraries.items():
                environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
                if library == "sluice":
                    environment["SLUICE_TRANSPORT"] = options.transport
                else:
                    environment.pop("PYTHONPATH", None)
                for name, seconds in measure(library, python, workers, environment).items():
                    found.setdefault((library, workers, name), []).append(seconds * 1e3)
    print("| step (ms) | sluice | at least | aim | tensorflow | ratio |\n|---|---|---|---|---|---|")
    for workers, name, title, least, aim in ROWS:
        ours = statistics.median(found["sluice", workers, name])
        theirs = found.get(("tensorflow", workers, name))
        theirs = statistics.median(theirs) if theirs else None
        print("| %s | %.3g | %g | %g | %s | %s |" % (title, ours, least, aim, "%.3g" % theirs if theirs else "",
                                                  "%.1f" % (theirs / ours) if theirs else ""))


if __name__ == "__main__":
    main()
