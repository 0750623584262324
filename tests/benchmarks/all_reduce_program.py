"""One rank of an all-reduce, by Sluice or by torch.distributed with gloo: what all_reduce_benchmark.py times.

usage: all_reduce_program.py LIBRARY ADDRESSES RANK      LIBRARY: sluice or gloo; ADDRESSES: host:port,... of all ranks

Rank 0 prints one line of JSON: {bytes: median seconds}. Every rank checks every result.
"""
import json
import sys
import time

import numpy as np

SIZES = {4 << 10: 300, 1 << 20: 100, 8 << 20: 40, 256 << 20: 5}  # bytes: runs


def numbers(rank, count):
    return (np.arange(count, dtype=np.float32) % 1000 + rank).astype(np.float32)


def sluice_runs(addresses, rank):
    import sluice as sl
    cluster = sl.train.ClusterSpec({"worker": addresses})
    server = sl.train.Server(cluster, job_name="worker", task_index=rank)
    config = sl.ConfigProto(device_filters=["/job:worker/task:%d" % rank])
    runs = {}
    with sl.device("/job:worker/task:%d" % rank):
        for size in SIZES:
            value = sl.placeholder(sl.float32, [size // 4])
            variable = sl.get_variable("v%d" % size, [size // 4], initializer=sl.zeros_initializer(), use_resource=True)
            total = sl.distribute.all_reduce(variable.read_value(), members=len(addresses))
            runs[size] = (variable.assign(value).op, value, total)
    session = sl.Session(server.target, config=config)
    for size, (assign, value, total) in runs.items():
        session.run(assign, {value: numbers(rank, size // 4)})
        result = session.run(total)
        yield size, session.make_callable(total.op), lambda result=result: result
    server.keep = session


def gloo_runs(addresses, rank):
    import torch
    import torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method="tcp://" + addresses[0], rank=rank, world_size=len(addresses))
    for size in SIZES:
        start = torch.from_numpy(numbers(rank, size // 4))
        tensor = start.clone()
        dist.all_reduce(tensor)
        result = tensor.numpy().copy()

        def run(tensor=torch.zeros(size // 4)):
            dist.all_reduce(tensor)

        yield size, run, lambda result=result: result


def main(library, addresses, rank):
    addresses = addresses.split(",")
    figures = {}
    for size, run, result in (sluice_runs if library == "sluice" else gloo_runs)(addresses, rank):
        wanted = sum(numbers(r, size // 4) for r in range(len(addresses)))
        assert np.array_equal(result(), wanted), "the sum of %d bytes is wrong" % size
        for _ in range(3):
            run()
        times = []
        for _ in range(SIZES[size]):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        figures[size] = sorted(times)[len(times) // 2]
    if rank == 0:
        print(json.dumps(figures), flush=True)
    time.sleep(0.5)  # the others may still be in their last run


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
