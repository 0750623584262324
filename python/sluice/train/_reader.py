"""Looking into checkpoints."""
import os

import sluice as sl
from sluice import errors, raw_ops
from sluice.train._bundle import read_index
from sluice.train._checkpoints import latest_checkpoint


class CheckpointReader:
    """What a checkpoint holds, by tensor name."""

    def __init__(self, prefix):
        self._prefix = os.fspath(prefix)
        if not os.path.exists(self._prefix + ".index"):
            raise errors.NotFoundError(None, None, "Unsuccessful: no checkpoint at %s (%s.index does not exist)"
                                       % (self._prefix, self._prefix))
        try:
            self._entries, self.num_shards = read_index(self._prefix + ".index")
        except ValueError as e:
            raise errors.DataLossError(None, None, str(e)) from None

    def get_variable_to_shape_map(self):
        """{name: shape as a list}."""
        return {name: list(e.shape) for name, e in self._entries.items()}

    def get_variable_to_dtype_map(self):
        """{name: type}."""
        return {name: sl.as_dtype(e.dtype) for name, e in self._entries.items()}

    def has_tensor(self, tensor_str):
        """Whether a tensor of that name is in the checkpoint."""
        return _text(tensor_str) in self._entries

    def get_tensor(self, tensor_str):
        """The tensor as a NumPy array (slices of a partitioned variable are put together)."""
        name = _text(tensor_str)
        if name not in self._entries:
            raise errors.NotFoundError(None, None, "Key %s not found in checkpoint %s" % (name, self._prefix))
        with sl.Graph().as_default(), sl.device("/device:CPU:0"):
            tensor = raw_ops.RestoreV2(self._prefix, [name], [""], dtypes=[sl.as_dtype(self._entries[name].dtype)])
            with sl.Session() as sess:
                return sess.run(tensor[0] if isinstance(tensor, (list, tuple)) else tensor)

    def debug_string(self):
        """One line for each tensor: name (type) shape."""
        lines = ["%s (%s) %s" % (n, sl.as_dtype(e.dtype).name, list(e.shape)) for n, e in sorted(self._entries.items())]
        return "\n".join(lines).encode()


def _text(name):
    return name.decode() if isinstance(name, bytes) else name


def NewCheckpointReader(filepattern):  # pylint: disable=invalid-name
    """A reader of the checkpoint with that prefix."""
    return CheckpointReader(filepattern)


def load_checkpoint(ckpt_dir_or_file):
    """A reader of a checkpoint, or of the latest one in a folder."""
    path = os.fspath(ckpt_dir_or_file)
    if os.path.isdir(path):
        found = latest_checkpoint(path)
        if found is None:
            raise ValueError("Couldn't find 'checkpoint' file or checkpoints in given directory %s" % path)
        path = found
    return CheckpointReader(path)


def list_variables(ckpt_dir_or_file):
    """Sorted (name, shape) of a checkpoint's tensors."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file, name):
    """One tensor of a checkpoint as a NumPy array."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name[:-2] if name.endswith(":0") else name)
