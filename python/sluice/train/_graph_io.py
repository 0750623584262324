"""Writing a graph to a file."""
import os

import sluice as sl
from sluice import _files


def write_graph(graph_or_graph_def, logdir, name, as_text=True):
    """Writes a graph, or a GraphDef, to a file in `logdir` (made when missing); returns its path."""
    graph_def = graph_or_graph_def.as_graph_def() if isinstance(graph_or_graph_def, sl.Graph) else graph_or_graph_def
    os.makedirs(logdir, exist_ok=True)
    path = os.path.join(logdir, name)
    if as_text:
        from google.protobuf import text_format
        _files.write_atomically(path, text_format.MessageToString(graph_def))
    else:
        _files.write_atomically(path, graph_def.SerializeToString())
    return path
