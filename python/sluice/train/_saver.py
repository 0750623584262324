"""Saver: the save and restore nodes of a graph, and the checkpoints in a folder.

The nodes have TensorFlow's names (save/Const, save/SaveV2, save/restore_all, ...), so that a graph written by one is
saved and restored by the other. A checkpoint is complete when its files are; the `checkpoint` file that points at it
is written last, in one step.
"""
import contextlib
import errno
import os
import threading
import time

import sluice as sl
from sluice import errors, raw_ops
from sluice.train import _checkpoints, _meta_graph, _session_epoch
from sluice.train._saveable import saveables_of

_V2 = 2


class Saver:
    """Saves variables to checkpoint files and restores them.

    Keeps the newest `max_to_keep` checkpoints (0 or None: all) and, besides, one for every
    `keep_checkpoint_every_n_hours`. `sharded` writes one file for each device that holds variables.
    """

    def __init__(self, var_list=None, reshape=False, sharded=False, max_to_keep=5,
                 keep_checkpoint_every_n_hours=10000.0, name=None, restore_sequentially=False, saver_def=None,
                 builder=None, defer_build=False, allow_empty=False, write_version=_V2, pad_step_number=False,
                 save_relative_paths=False, filename=None):
        if defer_build and var_list:
            raise ValueError("If `var_list` is provided then build cannot be deferred. Either set defer_build=False "
                             "or var_list=None.")
        if builder is not None:
            raise ValueError("Saver takes no builder: pass SaveableObjects in var_list instead")
        if write_version != _V2:
            raise ValueError("Saver writes checkpoints of version V2 alone, not version %s" % write_version)
        self._var_list, self._reshape, self._sharded = var_list, reshape, sharded
        self._max_to_keep, self._keep_hours = max_to_keep or 0, keep_checkpoint_every_n_hours
        self._name, self._restore_sequentially = name, restore_sequentially
        self._allow_empty, self._pad_step_number = allow_empty, pad_step_number
        self._save_relative_paths, self._filename = save_relative_paths, filename
        self._last_checkpoints = []  # (prefix, time), oldest first
        self._bytes = 0  # that a checkpoint has at least; 0 when that is not known
        self._next_checkpoint_time = None
        self._is_built = self._is_empty = False
        self._write_version = _V2
        self._saving = threading.RLock()
        self.session_epoch = None  # a SessionEpoch, which keeps a chief that was replaced from committing
        self.saver_def = None
        if saver_def is not None:
            self._adopt(saver_def)
        elif not defer_build:
            self.build()

    # The nodes.
    def build(self):
        """Adds the nodes; a Saver made with defer_build=True calls this once, when the variables are there."""
        if self._is_built:
            return
        self._is_built = True
        if self._var_list is None:
            self._var_list = sl.global_variables() + sl.get_collection(sl.GraphKeys.SAVEABLE_OBJECTS)
        if not self._var_list:
            if not self._allow_empty:
                raise ValueError("No variables to save")
            self._is_empty = True
            return
        saveables = saveables_of(self._var_list)
        with sl.name_scope(self._name, "save", [s.op for s in saveables]) as scope:
            # Two placeholders with defaults: the inner is the name this graph was built with, the outer is fed.
            inner = raw_ops.PlaceholderWithDefault(sl.constant(self._filename or "model", name="filename/input"),
                                                   shape=[], name="filename")
            filename = raw_ops.PlaceholderWithDefault(inner, shape=[], name="Const")
            if self._sharded:
                groups = _by_device(saveables)
                save = self._add_sharded_save(filename, groups)
                restore = self._add_sharded_restore(filename, groups)
            else:
                save = _save_then(filename, saveables, filename)
                restore = sl.group(*self._add_restore(filename, saveables), name="restore_all")
        del scope
        self._set_names(filename.name, save.name, restore.name)
        self._bytes = sum(_bytes_of(spec.tensor) for s in saveables for spec in s.specs)

    def _add_sharded_save(self, prefix, groups):
        with sl.device("/device:CPU:0"):
            shard_prefix = sl.string_join([prefix, "_temp/part"])
        count = sl.constant(len(groups), name="num_shards")
        written = []
        for shard, (device, saveables) in enumerate(groups):
            with sl.device(_cpu_of(device)):
                name = raw_ops.ShardedFilename(shard_prefix, shard, count)
                written.append(_save_then(name, saveables, name))
        with sl.control_dependencies([w.op for w in written]), sl.device(written[-1].device or None):
            prefixes = sl.stack(written, name="MergeV2Checkpoints/checkpoint_prefixes") if len(written) > 1 else \
                raw_ops.Pack([written[0]], name="MergeV2Checkpoints/checkpoint_prefixes")
            merge = raw_ops.MergeV2Checkpoints(prefixes, prefix, delete_old_dirs=True)
            with sl.control_dependencies([w.op for w in written] + [merge]):
                return sl.identity(prefix)

    def _add_sharded_restore(self, prefix, groups):
        shards = []
        for device, saveables in groups:
            with sl.device(device or None):
                ops = self._add_restore(prefix, saveables)
                shards.append(sl.group(*ops, name="restore_shard"))
        return sl.group(*shards, name="restore_all")

    def _add_restore(self, prefix, saveables):
        """The operations that set every saveable from one read of the checkpoint."""
        specs = [spec for s in saveables for spec in s.specs]
        with sl.device(_cpu_of(saveables[0].device)):
            tensors = raw_ops.RestoreV2(prefix, [s.name for s in specs], [s.slice_spec for s in specs],
                                        dtypes=[s.dtype for s in specs])
        tensors = list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
        ops = []
        for saveable in saveables:
            values, tensors = tensors[:len(saveable.specs)], tensors[len(saveable.specs):]
            shapes = None
            if self._reshape:
                shapes = [v.get_shape().as_list() for v in [saveable.op] * len(values)]
            after = [ops[-1]] if self._restore_sequentially and ops else []
            with sl.control_dependencies(after):
                ops.append(saveable.restore(values, shapes))
        return ops

    # What it is, as a message.
    def _set_names(self, filename, save, restore):
        self._filename_tensor_name, self._save_tensor_name, self._restore_op_name = filename, save, restore
        self.saver_def = _LazySaverDef(self)

    def _adopt(self, saver_def):
        self._is_built = True
        self._max_to_keep, self._sharded = saver_def.max_to_keep, saver_def.sharded
        self._keep_hours = saver_def.keep_checkpoint_every_n_hours or 10000.0
        self._filename_tensor_name = saver_def.filename_tensor_name
        self._save_tensor_name = saver_def.save_tensor_name
        self._restore_op_name = saver_def.restore_op_name
        self.saver_def = saver_def

    def as_saver_def(self):
        """The SaverDef message of this Saver."""
        if isinstance(self.saver_def, _LazySaverDef):
            self.saver_def = self.saver_def.message()
        return self.saver_def

    def to_proto(self, export_scope=None):
        """The SaverDef message, with names relative to `export_scope`; None when the Saver lies outside of it."""
        saver_def = self.as_saver_def()
        if export_scope is None:
            return saver_def
        if not saver_def.filename_tensor_name.startswith(export_scope):
            return None
        result = type(saver_def)()
        result.CopyFrom(saver_def)
        for field in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
            setattr(result, field, getattr(saver_def, field)[len(export_scope.rstrip("/")) + 1:])
        return result

    @staticmethod
    def from_proto(saver_def, import_scope=None):
        """The Saver of a SaverDef, whose nodes are in the current graph."""
        return Saver(saver_def=_scoped(saver_def, import_scope), name=import_scope)

    # Saving.
    def save(self, sess, save_path, global_step=None, latest_filename=None, meta_graph_suffix="meta",
             write_meta_graph=True, write_state=True, strip_default_attrs=False, save_debug_info=False):
        """Writes a checkpoint named `save_path`, with "-" and the step when one is given; returns its prefix.

        Threads take turns from reading the step to the commit, so that an older step is never committed after a newer.
        """
        with self._saving:
            return self._save(sess, save_path, global_step, latest_filename, meta_graph_suffix, write_meta_graph,
                              write_state)

    def _save(self, sess, save_path, global_step, latest_filename, meta_graph_suffix, write_meta_graph, write_state):
        self._require_built()
        save_path = os.fspath(save_path)
        latest_filename = latest_filename or "checkpoint"
        if os.path.split(latest_filename)[0]:
            raise ValueError("'latest_filename' must not contain path components")
        prefix, step = save_path, None
        if global_step is not None:
            step = global_step = int(sess.run(global_step) if hasattr(global_step, "op") else global_step)
            prefix = "%s-%s" % (save_path, ("%08d" if self._pad_step_number else "%d") % global_step)
        elif os.path.basename(save_path) == latest_filename and not self._sharded:
            raise ValueError("'latest_filename' collides with 'save_path': '%s' and '%s'"
                             % (latest_filename, save_path))
        if not hasattr(sess, "run"):
            raise TypeError("'sess' must be a Session; %s" % (sess,))
        folder = os.path.dirname(prefix)
        if not self._is_empty and not os.path.isdir(folder or "."):
            raise ValueError("Parent directory of %s doesn't exist, can't save." % save_path)
        with self._naming_what_it_needs(folder), self._written(sess, prefix):
            if write_meta_graph:
                self._write_meta_graph(sess.graph, "%s.%s" % (prefix, meta_graph_suffix))
            if self._is_empty:
                return None
            if write_state:
                before = list(self._last_checkpoints)
                expired = self._record(prefix)
                try:
                    epoch = self.session_epoch
                    _checkpoints.commit(
                        folder or ".", prefix, [p for p, _ in self._last_checkpoints], latest_filename, step,
                        epoch.number if epoch is not None and epoch.covers(prefix) else None, self._save_relative_paths)
                except BaseException:
                    self._last_checkpoints = before  # nothing was committed: what is there stays
                    raise
                for old in expired:
                    _checkpoints.remove_checkpoint(old, meta_graph_suffix=meta_graph_suffix)
        return prefix

    @contextlib.contextmanager
    def _naming_what_it_needs(self, folder):
        """A block whose errors of a full disk say how many bytes a checkpoint needs."""
        try:
            yield
        except (errors.ResourceExhaustedError, OSError) as e:
            if isinstance(e, OSError) and e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            with contextlib.suppress(OSError):  # a folder that only the servers see
                free = os.statvfs(folder or ".")
                raise errors.ResourceExhaustedError(
                    getattr(e, "node_def", None), getattr(e, "op", None), "%s. A checkpoint here needs %d bytes, and %s has "
                    "%d free; the checkpoints before are whole" % (e, self._bytes, folder or ".",
                                                                   free.f_bavail * free.f_frsize)) from e
            raise

    @contextlib.contextmanager
    def _written(self, sess, prefix):
        """Writes the variables; the block is the commit. With a session epoch, only its newest holder gets there."""
        epoch = self.session_epoch
        if epoch is None or self._is_empty or not epoch.covers(prefix):
            if not self._is_empty:
                sess.run(self._save_tensor_name, {self._filename_tensor_name: prefix})
            yield
            return
        epoch.check()
        temporary = epoch.temporary(prefix)
        try:
            try:
                sess.run(self._save_tensor_name, {self._filename_tensor_name: temporary})
            except errors.OpError:
                epoch.check()  # a successor removes what is not committed, also while it is written
                raise
            with epoch.commit():
                _session_epoch.move(temporary, prefix, epoch.check)
                yield
        except BaseException:
            _session_epoch.discard(temporary)
            raise

    def _write_meta_graph(self, graph, path):
        try:
            with graph.as_default():
                self.export_meta_graph(path)
        except ImportError as e:
            # The checkpoint is whole without it: only rebuilding the graph from the file is not possible.
            sl.logging.log_first_n(sl.logging.WARN, "%s is not written: %s", 1, path, e)

    def _record(self, prefix):
        """Puts `prefix` at the end of the list; returns the checkpoints that fall out and are not to be kept."""
        if self._max_to_keep <= 0:
            self._last_checkpoints = []
            self._last_checkpoints.append((prefix, time.time()))
            return []
        now = time.time()
        if self._next_checkpoint_time is None:
            self._next_checkpoint_time = now + self._keep_hours * 3600
        self._last_checkpoints = [(p, t) for p, t in self._last_checkpoints if p != prefix] + [(prefix, now)]
        expired = []
        while len(self._last_checkpoints) > self._max_to_keep:
            old, written = self._last_checkpoints.pop(0)
            if written > self._next_checkpoint_time:
                self._next_checkpoint_time += self._keep_hours * 3600
            else:
                expired.append(old)
        return expired

    @property
    def last_checkpoints(self):
        """The prefixes of the checkpoints that are kept, oldest first."""
        return [p for p, _ in self._last_checkpoints]

    def set_last_checkpoints(self, last_checkpoints):
        """Sets the list of kept checkpoints, oldest first."""
        self._last_checkpoints = [(p, (_checkpoints.get_checkpoint_mtimes([p]) or [0.0])[0]) for p in last_checkpoints]

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time):
        """The same with (prefix, time) pairs."""
        self._last_checkpoints = list(last_checkpoints_with_time)

    def recover_last_checkpoints(self, checkpoint_paths):
        """Takes over the checkpoints of an earlier run, so that they are removed in their turn."""
        there = [p for p in checkpoint_paths if _checkpoints.checkpoint_exists(p)]
        self._last_checkpoints = list(zip(there, _checkpoints.get_checkpoint_mtimes(there)))

    def restore(self, sess, save_path):
        """Sets the variables from the checkpoint with that prefix; they need no initialisation before."""
        self._require_built()
        if self._is_empty:
            return
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        save_path = os.fspath(save_path)
        if not _checkpoints.checkpoint_exists(save_path):
            raise ValueError("The passed save_path is not a valid checkpoint: " + save_path)
        try:
            sess.run(self._restore_op_name, {self._filename_tensor_name: save_path})
        except errors.NotFoundError as e:
            raise errors.NotFoundError(
                e.node_def, e.op, "Restoring from checkpoint %s failed: a variable of the graph is not in it. The graph "
                "must be the one that was saved (sl.train.list_variables shows what the checkpoint has). Original "
                "error:\n\n%s" % (save_path, e.message)) from None
        except errors.InvalidArgumentError as e:
            raise errors.InvalidArgumentError(
                e.node_def, e.op, "Restoring from checkpoint %s failed: a variable of the graph and the tensor saved "
                "under its name differ in shape or type. Original error:\n\n%s" % (save_path, e.message)) from None

    def export_meta_graph(self, filename=None, collection_list=None, as_text=False, export_scope=None,
                          clear_devices=False, clear_extraneous_savers=False, strip_default_attrs=False,
                          save_debug_info=False):
        """Writes the graph, its collections and this Saver as a MetaGraphDef, and returns it."""
        return _meta_graph.export_meta_graph(
            filename=filename, saver_def=None if self._is_empty else self.as_saver_def(),
            collection_list=collection_list, as_text=as_text, export_scope=export_scope, clear_devices=clear_devices,
            strip_default_attrs=strip_default_attrs)

    def _require_built(self):
        if not self._is_built:
            raise RuntimeError("`build()` should be called before save if defer_build==True")


class _LazySaverDef:
    """Stands for the SaverDef until a field of it is read, so that a Saver needs no protobuf package to work."""

    def __init__(self, saver):
        self._saver = saver

    def message(self):
        from sluice.protos import saver_pb2
        s = self._saver
        return saver_pb2.SaverDef(
            filename_tensor_name=s._filename_tensor_name, save_tensor_name=s._save_tensor_name,
            restore_op_name=s._restore_op_name, max_to_keep=s._max_to_keep, sharded=s._sharded,
            keep_checkpoint_every_n_hours=s._keep_hours, version=_V2)

    def __getattr__(self, name):
        return getattr(self._saver.as_saver_def(), name)


def _scoped(saver_def, scope):
    """`saver_def` with the names of its nodes under `scope`."""
    if not scope:
        return saver_def
    result = type(saver_def)()
    result.CopyFrom(saver_def)
    for field in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
        setattr(result, field, "%s/%s" % (scope, getattr(saver_def, field)))
    return result


def _save_then(filename, saveables, result):
    """Saves `saveables` to `filename`, then gives `result`."""
    specs = [spec for s in saveables for spec in s.specs]
    save = raw_ops.SaveV2(filename, [s.name for s in specs], [s.slice_spec for s in specs], [s.tensor for s in specs])
    with sl.control_dependencies([save]):
        return sl.identity(result, name="control_dependency")


def _bytes_of(tensor):
    """The bytes of a tensor of known shape and fixed element size; else 0."""
    dtype = tensor.dtype.base_dtype
    if not tensor.get_shape().is_fully_defined() or dtype in (sl.string, sl.variant, sl.resource):
        return 0
    return (tensor.get_shape().num_elements() or 0) * dtype.size


def _by_device(saveables):
    """[(device, its saveables)], sorted by device."""
    groups = {}
    for s in saveables:
        groups.setdefault(str(s.device or ""), []).append(s)
    return sorted(groups.items())


def _cpu_of(device):
    """The CPU of the task that `device` names: files are read and written there."""
    kept = [part for part in str(device or "").split("/") if part and not part.lower().startswith(("device:", "cpu:", "gpu:"))]
    return "/" + "/".join(kept + ["device:CPU:0"])
