"""B18: all-reduce of 2 and 4 ranks on this machine, beside gloo's (torch.distributed) in the same run.

    ./dev bench --peers all_reduce
    ./dev python tests/benchmarks/all_reduce_benchmark.py [--peers] [--rounds 3] [--transport grpc] [--ranks 2,4]

The sum of a float vector in each of several processes. Sluice's figure is that of a whole step of a session on each rank;
gloo's is that of the call. Medians; libraries take turns. The limit is that of the memory: each rank's numbers are read
and written five times in all, at what two cores get from DRAM (256 MB) or from the shared cache; small ones cost two
hand-overs between cores that spin.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

from cluster_benchmark import HERE, PEERS, free_ports

# bytes, title, limit in milliseconds of 2 ranks
ROWS = [(4 << 10, "4 KB", 0.00025), (1 << 20, "1 MB", 1 / 25), (8 << 20, "8 MB", 8 / 25), (256 << 20, "256 MB", 256 / 12)]


def measure(library, python, ranks, environment):
    addresses = ",".join("localhost:%d" % p for p in free_ports(ranks))
    start = lambda rank: subprocess.Popen([python, str(HERE / "all_reduce_program.py"), library, addresses, str(rank)],
                                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes = [start(r) for r in range(ranks)]
    try:
        out, err = processes[0].communicate(timeout=300)
        if processes[0].returncode != 0:
            raise SystemExit("%s with %d ranks failed:\n%s" % (library, ranks, err[-2000:]))
        return json.loads(out.strip().splitlines()[-1])
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="gloo too, from the peers' environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--transport", default="", help="shm, unix, tcp or grpc; by default what the tasks find")
    options = parser.parse_args()
    libraries = {"sluice": sys.executable}
    if options.peers and (PEERS / "bin/python").exists():
        libraries["gloo"] = str(PEERS / "bin/python")
    found, sizes = {}, [int(r) for r in options.ranks.split(",")]
    for _ in range(options.rounds):
        for ranks in sizes:
            for library, python in libraries.items():
                environment = dict(os.environ, SLUICE_TRANSPORT=options.transport)
                if library != "sluice":
                    environment.pop("PYTHONPATH", None)
                for size, seconds in measure(library, python, ranks, environment).items():
                    found.setdefault((library, ranks, int(size)), []).append(seconds * 1e3)
    print("| ranks | tensor | sluice ms | GB/s | % of limit | gloo ms | ratio |\n|---|---|---|---|---|---|---|")
    for ranks in sizes:
        for size, title, limit in ROWS:
            ours = statistics.median(found["sluice", ranks, size])
            theirs = found.get(("gloo", ranks, size))
            theirs = statistics.median(theirs) if theirs else None
            print("| %d | %s | %.3g | %.3g | %.0f | %s | %s |" % (
                ranks, title, ours, size / ours / 1e6, 100 * limit * ranks / 2 / ours, "%.3g" % theirs if theirs else "",
                "%.1f" % (theirs / ours) if theirs else ""))


if __name__ == "__main__":
    main()
