"""MetaGraphDef: a graph with its collections and its Saver, in one file."""
import os

import sluice as sl
from sluice import _files

_VARIABLE_KEYS = ("variables", "trainable_variables", "moving_average_variables", "local_variables",
                  "model_variables", "global_step", "metric_variables", "trainable_resource_variables")


def export_meta_graph(filename=None, meta_info_def=None, graph_def=None, saver_def=None, collection_list=None,
                      as_text=False, graph=None, export_scope=None, clear_devices=False, clear_extraneous_savers=False,
                      strip_default_attrs=False, save_debug_info=False, **kwargs):
    """The MetaGraphDef of a graph, written to `filename` when one is given."""
    from sluice.protos import meta_graph_pb2
    graph = graph or sl.get_default_graph()
    meta = meta_graph_pb2.MetaGraphDef()
    if meta_info_def is not None:
        meta.meta_info_def.MergeFrom(meta_info_def)
    meta.graph_def.MergeFrom(graph.as_graph_def(add_shapes=True) if graph_def is None else graph_def)
    if export_scope:
        _keep_scope(meta.graph_def, export_scope.rstrip("/") + "/")
    if clear_devices:
        for node in meta.graph_def.node:
            node.device = ""
    if strip_default_attrs:
        meta.meta_info_def.stripped_default_attrs = True
    if saver_def is not None:
        meta.saver_def.MergeFrom(saver_def)
    for key in graph.get_all_collection_keys() if collection_list is None else collection_list:
        if isinstance(key, str):
            _add_collection(meta, key, graph.get_collection(key), export_scope)
    if filename:
        if as_text:
            from google.protobuf import text_format
            _files.write_atomically(filename, text_format.MessageToString(meta))
        else:
            _files.write_atomically(filename, meta.SerializeToString())
    return meta


def _keep_scope(graph_def, scope):
    """Keeps the nodes under `scope` and takes it off their names."""
    strip = lambda name: name[len(scope):] if name.startswith(scope) else name
    kept = [node for node in graph_def.node if node.name.startswith(scope)]
    nodes = []
    for node in kept:
        copy = type(node)()
        copy.CopyFrom(node)
        copy.name = strip(copy.name)
        inputs = ["^" + strip(i[1:]) if i.startswith("^") else strip(i) for i in copy.input]
        del copy.input[:]
        copy.input.extend(inputs)
        if "_class" in copy.attr:
            classes = [b"loc:@" + strip(c[5:].decode()).encode() if c.startswith(b"loc:@") else c
                       for c in copy.attr["_class"].list.s]
            copy.attr["_class"].list.s[:] = classes
        nodes.append(copy)
    del graph_def.node[:]
    graph_def.node.extend(nodes)


def _add_collection(meta, key, items, scope):
    """Adds one collection; values that no message can hold are left out with a warning."""
    if not items:
        return
    try:
        if all(isinstance(i, sl.Variable) or hasattr(i, "to_proto") for i in items):
            values = [i.to_proto(export_scope=scope) for i in items]
            meta.collection_def[key].bytes_list.value.extend(v.SerializeToString() for v in values if v is not None)
        elif all(isinstance(i, (str, bytes)) for i in items):
            meta.collection_def[key].bytes_list.value.extend(i.encode() if isinstance(i, str) else i for i in items)
        elif all(isinstance(i, int) for i in items):
            meta.collection_def[key].int64_list.value.extend(items)
        elif all(isinstance(i, float) for i in items):
            meta.collection_def[key].float_list.value.extend(items)
        elif all(isinstance(getattr(i, "name", None), str) for i in items):
            prefix = scope.rstrip("/") + "/" if scope else ""
            meta.collection_def[key].node_list.value.extend(
                i.name[len(prefix):] for i in items if i.name.startswith(prefix))
        else:
            raise TypeError("its items are %s" % ", ".join(sorted({type(i).__name__ for i in items})))
    except (TypeError, ValueError) as e:
        meta.collection_def.pop(key, None)
        sl.logging.warning("The collection %r is not in the exported meta graph: %s", key, e)


def read_meta_graph_file(filename):
    """The MetaGraphDef in a file, binary or text."""
    from google.protobuf import message, text_format
    from sluice.protos import meta_graph_pb2
    filename = os.fspath(filename)
    if not os.path.exists(filename):
        raise OSError("File %s does not exist." % filename)
    with open(filename, "rb") as f:
        data = f.read()
    meta = meta_graph_pb2.MetaGraphDef()
    try:
        meta.ParseFromString(data)
        return meta
    except message.DecodeError:
        pass
    try:
        return text_format.Merge(data.decode("utf-8"), meta_graph_pb2.MetaGraphDef())
    except (UnicodeDecodeError, text_format.ParseError) as e:
        raise OSError("Cannot parse file %s: %s." % (filename, e)) from None


def import_meta_graph(meta_graph_or_file, clear_devices=False, import_scope=None, **kwargs):
    """Adds the graph and the collections of a MetaGraphDef to the current graph; returns its Saver, or None."""
    from sluice.train._saver import Saver, _scoped
    meta = meta_graph_or_file
    if isinstance(meta, (str, os.PathLike)):
        meta = read_meta_graph_file(meta)
    graph = sl.get_default_graph()
    before = {id(v) for v in sl.global_variables()}
    import_graph(meta, graph, clear_devices, import_scope)
    if meta.HasField("saver_def"):
        scope = import_scope
        if not scope:
            scope = None
        return Saver(saver_def=_scoped(meta.saver_def, scope), name=scope)
    if any(id(v) not in before for v in sl.global_variables()):
        return Saver()
    return None


def import_graph(meta, graph, clear_devices=False, import_scope=None, input_map=None):
    """Adds the nodes and collections of `meta` to `graph`."""
    graph_def = meta.graph_def
    if clear_devices:
        graph_def = type(graph_def)()
        graph_def.CopyFrom(meta.graph_def)
        for node in graph_def.node:
            node.device = ""
    with graph.as_default():
        sl.import_graph_def(graph_def, input_map=input_map, name=import_scope or "")
        variables = {}
        for key in sorted(meta.collection_def):
            definition = meta.collection_def[key]
            kind = definition.WhichOneof("kind")
            if kind == "node_list":
                for name in definition.node_list.value:
                    full = "%s/%s" % (import_scope, name) if import_scope else name
                    graph.add_to_collection(key, graph.as_graph_element(full))
            elif kind == "bytes_list" and key in _VARIABLE_KEYS:
                for data in definition.bytes_list.value:
                    if data not in variables:
                        variables[data] = _variable(data, import_scope)
                    graph.add_to_collection(key, variables[data])
            elif kind == "bytes_list" and key == sl.GraphKeys.QUEUE_RUNNERS:
                for data in definition.bytes_list.value:
                    graph.add_to_collection(key, _queue_runner(data, import_scope))
            elif kind in ("bytes_list", "int64_list", "float_list"):
                if key in ("while_context", "cond_context"):
                    continue  # descriptions of control flow for a front end that rewrites it
                for value in getattr(definition, kind).value:
                    graph.add_to_collection(key, value)


def _variable(data, import_scope):
    from sluice.protos import variable_pb2
    definition = variable_pb2.VariableDef()
    definition.ParseFromString(data)
    return sl.Variable.from_proto(definition, import_scope=import_scope)


def _queue_runner(data, import_scope):
    from sluice.protos import queue_runner_pb2
    return sl.train.QueueRunner.from_proto(queue_runner_pb2.QueueRunnerDef.FromString(data), import_scope=import_scope)
