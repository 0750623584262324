import importlib
import os
import pickle
import subprocess
import sys
import unittest

import sluice.protos

# Without an assembled package the descriptors are where Bazel leaves them.
_BUILT = "bazel-bin/core/proto/descriptors.pb"
if not os.path.exists(sluice.protos._DESCRIPTORS) and os.path.exists(_BUILT):
    sluice.protos._DESCRIPTORS = os.path.abspath(_BUILT)


class ProtosTest(unittest.TestCase):
    def test_module_and_class_names_are_those_of_tensorflow(self):
        from sluice.protos import attr_value_pb2, config_pb2, event_pb2, types_pb2
        from sluice.protos.node_def_pb2 import NodeDef

        node = NodeDef(name="a", op="Const")
        node.attr["dtype"].CopyFrom(attr_value_pb2.AttrValue(type=types_pb2.DT_FLOAT))
        self.assertEqual(node.attr["dtype"].type, types_pb2.DataType.Value("DT_FLOAT"))
        self.assertEqual(event_pb2.SessionLog.START, 1)
        self.assertEqual(config_pb2.RunOptions.FULL_TRACE, 3)
        self.assertEqual(config_pb2.OptimizerOptions.Level.Value("L0"), -1)

    def test_nested_classes_are_attributes_of_the_outer_class(self):
        from sluice.protos import attr_value_pb2, config_pb2, summary_pb2

        self.assertEqual(list(attr_value_pb2.AttrValue.ListValue(i=[1, 2]).i), [1, 2])
        self.assertEqual(summary_pb2.Summary.Value(tag="x", simple_value=2).tag, "x")
        options = config_pb2.GPUOptions(
            experimental=config_pb2.GPUOptions.Experimental(
                virtual_devices=[config_pb2.GPUOptions.Experimental.VirtualDevices(memory_limit_mb=[1.0])]
            )
        )
        self.assertEqual(options.experimental.virtual_devices[0].memory_limit_mb[0], 1.0)

    def test_messages_of_different_files_fit_together(self):
        from sluice.protos import graph_pb2, node_def_pb2

        graph = graph_pb2.GraphDef(node=[node_def_pb2.NodeDef(name="a")])
        self.assertIsInstance(graph.node[0], node_def_pb2.NodeDef)
        self.assertEqual(graph_pb2.GraphDef.FromString(graph.SerializeToString()), graph)

    def test_text_format_reads_a_graph(self):
        from google.protobuf import text_format
        from sluice.protos import graph_pb2

        graph = text_format.Parse('node { name: "a" attr { key: "T" value { type: DT_INT32 } } }', graph_pb2.GraphDef())
        self.assertEqual(graph.node[0].attr["T"].type, 3)
        self.assertIn("DT_INT32", text_format.MessageToString(graph))

    def test_messages_can_be_pickled(self):
        from sluice.protos import config_pb2, summary_pb2

        for message in config_pb2.ConfigProto(log_device_placement=True), summary_pb2.Summary.Value(tag="x"):
            self.assertEqual(pickle.loads(pickle.dumps(message)), message)

    def test_every_module_can_be_made(self):
        self.assertIn("meta_graph_pb2", dir(sluice.protos))
        for name in dir(sluice.protos):
            self.assertTrue(getattr(sluice.protos, name).DESCRIPTOR.name.startswith("core/proto/"))

    def test_an_unknown_module_is_an_attribute_error_or_import_error(self):
        with self.assertRaisesRegex(AttributeError, "graph_pb2"):
            sluice.protos.no_such_pb2
        with self.assertRaises(ImportError):
            importlib.import_module("sluice.protos.no_such_pb2")

    def test_protobuf_is_imported_only_when_a_message_is_asked_for(self):
        code = "import sys, sluice.protos; sys.exit('google.protobuf' in sys.modules)"
        folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(sluice.protos.__file__))))
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=folder).returncode, 0)


if __name__ == "__main__":
    unittest.main()
