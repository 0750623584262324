"""Training on several processes and machines: `cluster_resolver` says which tasks there are and which one this is.

`all_reduce`, `all_gather`, `broadcast` and `broadcast_variables` are what the members of a group do together;
sl.train.AllReduceOptimizer is made of them. What distribution strategies do elsewhere is written here with sl.device, sl.train.replica_device_setter and
sl.train.Server.
"""
import importlib


_COLLECTIVES = ("all_gather", "all_reduce", "broadcast", "broadcast_variables")


def __getattr__(name):
    if name == "cluster_resolver":
        return importlib.import_module("sluice.distribute.cluster_resolver")
    if name in _COLLECTIVES:
        return getattr(importlib.import_module("sluice.distribute._collectives"), name)
    raise AttributeError("module 'sluice.distribute' has no attribute '%s': place variables and operations with sl.device "
                         "and sl.train.replica_device_setter; clusters are found by sl.distribute.cluster_resolver" % name)


def __dir__():
    return ["cluster_resolver", *_COLLECTIVES]
