"""SavedModel: a graph, its variables and its signatures in a folder, for servers and other programs.

    EXPORT_DIR/saved_model.pb            the graph, tags and signatures
    EXPORT_DIR/variables/variables.*     a checkpoint
    EXPORT_DIR/assets/                   files that the graph reads
"""
import os
import shutil
import types

import sluice as sl
from sluice import _files

SAVED_MODEL_FILENAME_PB = "saved_model.pb"
SAVED_MODEL_FILENAME_PBTXT = "saved_model.pbtxt"
MAIN_OP_KEY, LEGACY_INIT_OP_KEY = "saved_model_main_op", "legacy_init_op"
ASSETS_KEY = "saved_model_assets"

tag_constants = types.SimpleNamespace(SERVING="serve", TRAINING="train", GPU="gpu", TPU="tpu", EVAL="eval")
signature_constants = types.SimpleNamespace(
    DEFAULT_SERVING_SIGNATURE_DEF_KEY="serving_default",
    PREDICT_INPUTS="inputs", PREDICT_OUTPUTS="outputs", PREDICT_METHOD_NAME="tensorflow/serving/predict",
    CLASSIFY_INPUTS="inputs", CLASSIFY_OUTPUT_CLASSES="classes", CLASSIFY_OUTPUT_SCORES="scores",
    CLASSIFY_METHOD_NAME="tensorflow/serving/classify",
    REGRESS_INPUTS="inputs", REGRESS_OUTPUTS="outputs", REGRESS_METHOD_NAME="tensorflow/serving/regress")
constants = types.SimpleNamespace(
    SAVED_MODEL_FILENAME_PB=SAVED_MODEL_FILENAME_PB, SAVED_MODEL_FILENAME_PBTXT=SAVED_MODEL_FILENAME_PBTXT,
    SAVED_MODEL_SCHEMA_VERSION=1, VARIABLES_DIRECTORY="variables", VARIABLES_FILENAME="variables",
    ASSETS_DIRECTORY="assets", ASSETS_KEY=ASSETS_KEY, MAIN_OP_KEY=MAIN_OP_KEY, LEGACY_INIT_OP_KEY=LEGACY_INIT_OP_KEY)

globals().update({**vars(tag_constants), **vars(signature_constants), **vars(constants)})  # also without their groups


# Signatures.
def build_tensor_info(tensor):
    """The TensorInfo (name, type, shape) of a tensor."""
    from sluice.protos import meta_graph_pb2
    return meta_graph_pb2.TensorInfo(name=tensor.name, dtype=tensor.dtype.base_dtype.as_datatype_enum,
                                     tensor_shape=tensor.get_shape().as_proto())


def get_tensor_from_tensor_info(tensor_info, graph=None, import_scope=None):
    """The tensor that a TensorInfo names."""
    graph = graph or sl.get_default_graph()
    name = tensor_info.name
    return graph.get_tensor_by_name("%s/%s" % (import_scope, name) if import_scope else name)


def build_signature_def(inputs=None, outputs=None, method_name=None):
    """A SignatureDef from {key: TensorInfo} of inputs and outputs."""
    from sluice.protos import meta_graph_pb2
    signature = meta_graph_pb2.SignatureDef()
    for key, info in (inputs or {}).items():
        signature.inputs[key].CopyFrom(info)
    for key, info in (outputs or {}).items():
        signature.outputs[key].CopyFrom(info)
    if method_name is not None:
        signature.method_name = method_name
    return signature


def _infos(tensors, what):
    if not tensors:
        raise ValueError("%s %s cannot be None or empty." % (what, tensors))
    return {key: build_tensor_info(tensor) for key, tensor in tensors.items()}


def predict_signature_def(inputs, outputs):
    """The signature of a prediction, from {key: tensor}."""
    return build_signature_def(_infos(inputs, "Prediction inputs"), _infos(outputs, "Prediction outputs"),
                               signature_constants.PREDICT_METHOD_NAME)


def regression_signature_def(examples, predictions):
    """The signature of a regression over serialized examples."""
    return build_signature_def({"inputs": build_tensor_info(examples)}, {"outputs": build_tensor_info(predictions)},
                               signature_constants.REGRESS_METHOD_NAME)


def classification_signature_def(examples, classes, scores):
    """The signature of a classification over serialized examples."""
    if classes is None and scores is None:
        raise ValueError("Classification classes and scores cannot both be None.")
    outputs = {}
    if classes is not None:
        outputs["classes"] = build_tensor_info(classes)
    if scores is not None:
        outputs["scores"] = build_tensor_info(scores)
    return build_signature_def({"inputs": build_tensor_info(examples)}, outputs,
                               signature_constants.CLASSIFY_METHOD_NAME)


# Writing.
class SavedModelBuilder:
    """Builds a SavedModel: the first meta graph with its variables, further ones (other tags) with the same."""

    def __init__(self, export_dir):
        from sluice.protos import saved_model_pb2
        self._export_dir = os.fspath(export_dir)
        if os.path.exists(self._export_dir) and os.listdir(self._export_dir):
            raise AssertionError("Export directory %s already exists, and isn't empty. Please choose a different "
                                 "export directory, or delete all the contents of the specified directory."
                                 % self._export_dir)
        os.makedirs(self._export_dir, exist_ok=True)
        self._saved_model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
        self._has_variables = False

    def add_meta_graph_and_variables(self, sess, tags, signature_def_map=None, assets_collection=None,
                                     legacy_init_op=None, clear_devices=False, main_op=None,
                                     strip_default_attrs=False, saver=None, assets_list=None, train_op=None):
        """Saves the variables of the session, and its graph under `tags`."""
        if self._has_variables:
            raise AssertionError("Graph state including variables and assets has already been saved. Please invoke "
                                 "`add_meta_graph()` instead.")
        folder = os.path.join(self._export_dir, "variables")
        os.makedirs(folder, exist_ok=True)
        with sess.graph.as_default():
            saver = saver or self._saver()
            saver.save(sess, os.path.join(folder, "variables"), write_meta_graph=False, write_state=False)
        self._add(sess.graph, tags, signature_def_map, assets_list or assets_collection, main_op or legacy_init_op,
                  clear_devices, saver)
        self._has_variables = True

    def add_meta_graph(self, tags, signature_def_map=None, assets_collection=None, legacy_init_op=None,
                       clear_devices=False, main_op=None, strip_default_attrs=False, saver=None, assets_list=None,
                       train_op=None):
        """Adds the current graph under other tags; its variables are those saved before."""
        if not self._has_variables:
            raise AssertionError("Graph state including variables and assets has not been saved yet. Please invoke "
                                 "`add_meta_graph_and_variables()` first.")
        graph = sl.get_default_graph()
        self._add(graph, tags, signature_def_map, assets_list or assets_collection, main_op or legacy_init_op,
                  clear_devices, saver or self._saver())

    @staticmethod
    def _saver():
        return sl.train.Saver(sl.global_variables() + sl.get_collection(sl.GraphKeys.SAVEABLE_OBJECTS), sharded=True,
                              allow_empty=True)

    def _add(self, graph, tags, signatures, assets, main_op, clear_devices, saver):
        from sluice.protos import meta_graph_pb2
        self._check(graph, signatures or {})
        with graph.as_default():
            for asset in assets or []:
                self._add_asset(asset)
            if main_op is not None:
                collection = graph.get_collection_ref(MAIN_OP_KEY)
                if main_op not in collection:
                    collection.append(main_op)
            meta = saver.export_meta_graph(clear_devices=clear_devices)
        info = meta_graph_pb2.MetaGraphDef()
        info.meta_info_def.tags.extend(tags)
        meta.MergeFrom(info)
        for key, signature in (signatures or {}).items():
            meta.signature_def[key].CopyFrom(signature)
        self._saved_model.meta_graphs.add().CopyFrom(meta)

    def _add_asset(self, tensor):
        """Copies the file that a string constant names to the model's assets."""
        path = sl.get_static_value(tensor)
        if path is None:
            raise ValueError("The asset %s must be a constant tensor that names a file" % tensor.name)
        path = path.item() if hasattr(path, "item") else path
        path = path.decode() if isinstance(path, bytes) else path
        folder = os.path.join(self._export_dir, "assets")
        os.makedirs(folder, exist_ok=True)
        shutil.copy(path, os.path.join(folder, os.path.basename(path)))

    @staticmethod
    def _check(graph, signatures):
        for key, signature in signatures.items():
            for info in list(signature.inputs.values()) + list(signature.outputs.values()):
                if not info.dtype or not info.name and not info.HasField("coo_sparse"):
                    raise AssertionError("The signature %r has a TensorInfo without name or type: %s" % (key, info))
                if info.name:
                    graph.get_tensor_by_name(info.name)

    def save(self, as_text=False):
        """Writes saved_model.pb (or .pbtxt); returns its path."""
        if as_text:
            from google.protobuf import text_format
            path = os.path.join(self._export_dir, SAVED_MODEL_FILENAME_PBTXT)
            _files.write_atomically(path, text_format.MessageToString(self._saved_model))
        else:
            path = os.path.join(self._export_dir, SAVED_MODEL_FILENAME_PB)
            _files.write_atomically(path, self._saved_model.SerializeToString())
        return path


Builder = SavedModelBuilder


def simple_save(session, export_dir, inputs, outputs, legacy_init_op=None):
    """Writes a SavedModel for serving with one prediction signature, from {key: tensor} of inputs and outputs."""
    key = signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    model = SavedModelBuilder(export_dir)
    with session.graph.as_default():
        model.add_meta_graph_and_variables(session, [tag_constants.SERVING],
                                           {key: predict_signature_def(inputs, outputs)},
                                           main_op=legacy_init_op, clear_devices=True)
    model.save()


# Reading.
def _read(export_dir):
    from google.protobuf import message, text_format
    from sluice.protos import saved_model_pb2
    export_dir = os.fspath(export_dir)
    model = saved_model_pb2.SavedModel()
    binary, text = (os.path.join(export_dir, n) for n in (SAVED_MODEL_FILENAME_PB, SAVED_MODEL_FILENAME_PBTXT))
    if os.path.exists(binary):
        with open(binary, "rb") as f:
            try:
                model.ParseFromString(f.read())
            except message.DecodeError as e:
                raise OSError("Cannot parse file %s: %s." % (binary, e)) from None
        return model
    if os.path.exists(text):
        with open(text, encoding="utf-8") as f:
            try:
                return text_format.Merge(f.read(), model)
            except text_format.ParseError as e:
                raise OSError("Cannot parse file %s: %s." % (text, e)) from None
    raise OSError("SavedModel file does not exist at: %s/{%s|%s}"
                  % (export_dir, SAVED_MODEL_FILENAME_PBTXT, SAVED_MODEL_FILENAME_PB))


def maybe_saved_model_directory(export_dir):
    """Whether the folder looks like a SavedModel."""
    return any(os.path.exists(os.path.join(export_dir, n))
               for n in (SAVED_MODEL_FILENAME_PB, SAVED_MODEL_FILENAME_PBTXT))


contains_saved_model = maybe_saved_model_directory


def load(sess, tags, export_dir, import_scope=None, **saver_kwargs):
    """Loads the meta graph with exactly these tags into the session's graph, restores its variables and runs its
    initialisation; returns the MetaGraphDef, whose signature_def says what to feed and fetch."""
    from sluice.train import _meta_graph
    from sluice.train._saver import Saver, _scoped
    export_dir = os.fspath(export_dir)
    model = _read(export_dir)
    found = [m for m in model.meta_graphs if set(m.meta_info_def.tags) == set(tags)]
    if not found:
        have = ["{%s}" % ", ".join(sorted(m.meta_info_def.tags)) for m in model.meta_graphs]
        raise RuntimeError("MetaGraphDef associated with tags %s could not be found in SavedModel %s, which has %s"
                           % (sorted(tags), export_dir, "; ".join(have)))
    meta = found[0]
    with sess.graph.as_default():
        _meta_graph.import_graph(meta, sess.graph, import_scope=import_scope)
        prefix = os.path.join(export_dir, "variables", "variables")
        if meta.HasField("saver_def") and os.path.exists(prefix + ".index"):
            Saver(saver_def=_scoped(meta.saver_def, import_scope)).restore(sess, prefix)
        for key in (MAIN_OP_KEY, LEGACY_INIT_OP_KEY):
            if key in meta.collection_def:
                feeds = {}
                for data in meta.collection_def[ASSETS_KEY].any_list.value if ASSETS_KEY in meta.collection_def else []:
                    asset = _asset(data)
                    tensor = get_tensor_from_tensor_info(asset.tensor_info, sess.graph, import_scope)
                    feeds[tensor] = os.path.join(export_dir, "assets", asset.filename)
                sess.run(sess.graph.get_collection(key), feeds)
                break
    return meta


def _asset(data):
    from sluice.protos import meta_graph_pb2
    asset = meta_graph_pb2.AssetFileDef()
    data.Unpack(asset)
    return asset


builder = types.SimpleNamespace(SavedModelBuilder=SavedModelBuilder)
loader = types.SimpleNamespace(load=load, maybe_saved_model_directory=maybe_saved_model_directory)
utils = types.SimpleNamespace(build_tensor_info=build_tensor_info,
                              get_tensor_from_tensor_info=get_tensor_from_tensor_info)
signature_def_utils = types.SimpleNamespace(
    build_signature_def=build_signature_def, predict_signature_def=predict_signature_def,
    regression_signature_def=regression_signature_def, classification_signature_def=classification_signature_def)
