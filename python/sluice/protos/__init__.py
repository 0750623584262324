"""Message classes under TensorFlow's module names.

    from sluice.protos import graph_pb2
    from sluice.protos.node_def_pb2 import NodeDef

The classes are made when a module is first asked for, from the descriptors that the build ships, in a descriptor pool
of our own. So nothing here is tied to one version of the protobuf package, which is imported only then, and
TensorFlow may live in the same process. Each has TensorFlow's fields: bytes and text of either can be read by the other.
"""

import importlib
import importlib.machinery
import os
import sys

_DESCRIPTORS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "native", "descriptors.pb")
_factory = None


def _get_factory():
    global _factory
    if _factory is None:
        from sluice.protos._factory import MessageFactory

        _factory = MessageFactory(_DESCRIPTORS)
    return _factory


class _Finder:
    """Lets `import sluice.protos.graph_pb2` work although there is no such file.

    A finder and loader by its methods: importlib.abc would say so too, but its import takes longer than all else here.
    """

    def find_spec(self, fullname, path=None, target=None):
        if not (fullname.startswith(__name__ + ".") and fullname.endswith("_pb2")):
            return None
        if not _get_factory().has(fullname.rpartition(".")[2]):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=_DESCRIPTORS)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        _get_factory().fill(module)


if not any(type(finder).__name__ == "_Finder" and type(finder).__module__ == __name__ for finder in sys.meta_path):
    sys.meta_path.append(_Finder())


def __getattr__(name):
    if name.endswith("_pb2"):
        try:
            return importlib.import_module(__name__ + "." + name)
        except ModuleNotFoundError as error:
            if error.name != __name__ + "." + name:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its modules are {', '.join(__dir__())}")


def __dir__():
    return _get_factory().modules()
