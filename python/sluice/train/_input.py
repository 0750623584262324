"""Input pipelines of queues: producers of what to read, and batches of what was read.

    names = sl.train.string_input_producer(files, num_epochs=2)          # a queue of file names
    image, label = decode(sl.read_file(names.dequeue()))
    images, labels = sl.train.shuffle_batch([image, label], 32, capacity=1000, min_after_dequeue=500)

    threads = sl.train.start_queue_runners(sess, coord)                  # local_variables_initializer() comes first

Each function adds a queue and a QueueRunner that fills it. At the end of the input dequeues are OUT_OF_RANGE.
"""
import sluice as sl
from sluice.train._queue_runner import QueueRunner, add_queue_runner


def match_filenames_once(pattern, name=None):
    """The names of the files that match `pattern`, looked up once: a local variable."""
    with sl.name_scope(name, "matching_filenames", [pattern]) as name:
        return sl.Variable(sl.matching_files(pattern), trainable=False, validate_shape=False, name=name,
                           collections=[sl.GraphKeys.LOCAL_VARIABLES])


def limit_epochs(tensor, num_epochs=None, name=None):
    """`tensor`, `num_epochs` times; then OUT_OF_RANGE. The count is a local variable."""
    if num_epochs is None:
        return tensor
    if num_epochs <= 0:
        raise ValueError("num_epochs must be > 0 not %d." % num_epochs)
    with sl.name_scope(name, "limit_epochs", [tensor]) as name:
        epochs = sl.Variable(sl.constant(0, sl.int64), name="epochs", trainable=False, use_resource=False,
                             collections=[sl.GraphKeys.LOCAL_VARIABLES])
        with sl.control_dependencies([epochs.count_up_to(num_epochs)]):
            return sl.identity(tensor, name=name)


def input_producer(input_tensor, element_shape=None, num_epochs=None, shuffle=True, seed=None, capacity=32,
                   shared_name=None, summary_name=None, name=None, cancel_op=None):
    """A queue of the rows of `input_tensor`, over and over or `num_epochs` times, each time in a new order unless
    `shuffle` is False."""
    with sl.name_scope(name, "input_producer", [input_tensor]):
        input_tensor = sl.convert_to_tensor(input_tensor, name="input_tensor")
        element_shape = input_tensor.shape[1:].merge_with(element_shape)
        if not element_shape.is_fully_defined():
            raise ValueError("Either `input_tensor` must have a fully defined shape or `element_shape` must be specified")
        if shuffle:
            input_tensor = sl.random_shuffle(input_tensor, seed=seed)
        input_tensor = limit_epochs(input_tensor, num_epochs)
        queue = sl.FIFOQueue(capacity, [input_tensor.dtype.base_dtype], [element_shape], shared_name=shared_name)
        add_queue_runner(QueueRunner(queue, [queue.enqueue_many([input_tensor])], cancel_op=cancel_op))
        if summary_name is not None:
            sl.summary.scalar(summary_name, sl.cast(queue.size(), sl.float32) * (1.0 / capacity))
        return queue


def string_input_producer(string_tensor, num_epochs=None, shuffle=True, seed=None, capacity=32, shared_name=None,
                          name=None, cancel_op=None):
    """A queue of strings, such as names of files."""
    empty = "string_input_producer requires a non-null input tensor"
    if not isinstance(string_tensor, sl.Tensor) and not getattr(string_tensor, "op", None) and not len(string_tensor):
        raise ValueError(empty)
    with sl.name_scope(name, "input_producer", [string_tensor]) as name:
        string_tensor = sl.convert_to_tensor(string_tensor, dtype=sl.string)
        with sl.control_dependencies([sl.Assert(sl.greater(sl.size(string_tensor), 0), [empty])]):
            string_tensor = sl.identity(string_tensor)
        return input_producer(string_tensor, [], num_epochs, shuffle, seed, capacity, shared_name,
                              "fraction_of_%d_full" % capacity, name, cancel_op)


def range_input_producer(limit, num_epochs=None, shuffle=True, seed=None, capacity=32, shared_name=None, name=None):
    """A queue of the numbers 0 to limit - 1."""
    with sl.name_scope(name, "input_producer", [limit]) as name:
        return input_producer(sl.range(limit), [], num_epochs, shuffle, seed, capacity, shared_name,
                              "fraction_of_%d_full" % capacity, name)


def slice_input_producer(tensor_list, num_epochs=None, shuffle=True, seed=None, capacity=32, shared_name=None,
                         name=None):
    """One row of each tensor, the same row of all, another one in each step."""
    with sl.name_scope(name, "input_producer", tensor_list):
        if not tensor_list:
            raise ValueError("Expected at least one tensor in slice_input_producer().")
        tensor_list = [sl.convert_to_tensor(t) for t in tensor_list]
        rows = tensor_list[0].shape[:1].as_list()[0] if tensor_list[0].shape.ndims else None
        index = range_input_producer(rows if rows is not None else sl.shape(tensor_list[0])[0], num_epochs, shuffle,
                                     seed, capacity, shared_name).dequeue()
        return [sl.gather(t, index) for t in tensor_list]


class _Structure:
    """A tensor, or a list or dictionary of them, as a list."""

    def __init__(self, tensors):
        self._tensors = tensors
        if isinstance(tensors, dict):
            self._keys = sorted(tensors)
            listed = [tensors[k] for k in self._keys]
        else:
            listed = list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
        if not listed:
            raise ValueError("Expected at least one tensor in batch().")
        if any(isinstance(t, sl.SparseTensor) for t in listed):
            raise TypeError("Sparse tensors cannot be batched by queues: make them dense first")
        self.tensors = [sl.convert_to_tensor(t) for t in listed]

    def like(self, batched):
        """The batch in the structure that the tensors had."""
        batched = batched if isinstance(batched, list) else [batched]
        if isinstance(self._tensors, dict):
            return dict(zip(self._keys, batched))
        return batched if isinstance(self._tensors, (list, tuple)) else batched[0]


def _shapes_of(structures, shapes, enqueue_many, ranks_only):
    """Of the components of one element, as far as all sources agree."""
    if shapes is not None:
        return shapes
    found = []
    for same in zip(*[s.tensors for s in structures]):
        one = [t.shape[1:] if enqueue_many else t.shape for t in same]
        merged = one[0]
        for other in one[1:]:
            if merged.ndims is None or other.ndims is None or merged.ndims != other.ndims:
                merged = sl.TensorShape(None)
                break
            merged = sl.TensorShape([a if a == b else None for a, b in zip(merged.as_list(), other.as_list())])
        if not (merged.ndims is not None if ranks_only else merged.is_fully_defined()):
            raise ValueError("All shapes must be %s: %s; give `shapes`%s"
                             % ("of known rank" if ranks_only else "fully defined", [str(s) for s in one],
                                "" if ranks_only else ", or dynamic_pad=True to pad"))
        found.append(merged)
    return found


def _enqueue(queue, tensors, enqueue_many, keep_input):
    """The operation that enqueues; `keep_input` (a bool, or one for each row) says what is kept."""
    if keep_input is True:
        return queue.enqueue_many(tensors) if enqueue_many else queue.enqueue(tensors)
    keep = sl.convert_to_tensor(keep_input, dtype=sl.bool)
    if keep.shape.ndims not in (0, 1) or (keep.shape.ndims == 1 and not enqueue_many):
        raise ValueError("keep_input must be a boolean, or with enqueue_many a vector of them, found shape %s"
                         % keep.shape)
    if not enqueue_many:
        tensors = [sl.expand_dims(t, 0) for t in tensors]
    if keep.shape.ndims == 0:
        keep = sl.fill(sl.shape(tensors[0])[:1], keep)
    return queue.enqueue_many([sl.boolean_mask(t, keep) for t in tensors])


def _batches(scope, sources, batch_size, keep_input, threads, enqueue_many, shapes, final, name, make_queue, ranks_only,
             summarise):
    """Batches from several sources, each of which `threads` threads enqueue."""
    inputs = [t for s in sources for t in (s.values() if isinstance(s, dict) else s if isinstance(s, (list, tuple)) else [s])]
    with sl.name_scope(name, scope, inputs) as name:
        structures = [_Structure(s) for s in sources]
        types = [t.dtype.base_dtype for t in structures[0].tensors]
        for other in structures[1:]:
            if [t.dtype.base_dtype for t in other.tensors] != types:
                raise TypeError("Expected types to be consistent: %s vs. %s."
                                % (types, [t.dtype.base_dtype for t in other.tensors]))
        shapes = _shapes_of(structures, shapes, enqueue_many, ranks_only)
        queue = make_queue(types, shapes)
        operations = []
        for s in structures:
            operations += [_enqueue(queue, s.tensors, enqueue_many, keep_input)] * threads
        add_queue_runner(QueueRunner(queue, operations))
        summarise(queue)
        take = queue.dequeue_up_to if final else queue.dequeue_many
        return structures[0].like(take(batch_size, name=name))


def _plain(scope, sources, batch_size, keep_input, threads, capacity, enqueue_many, shapes, dynamic_pad, final,
           shared_name, name):
    def make(types, shapes):
        kind = sl.PaddingFIFOQueue if dynamic_pad else sl.FIFOQueue
        return kind(capacity, types, shapes, shared_name=shared_name)

    def summarise(queue):
        sl.summary.scalar("fraction_of_%d_full" % capacity, sl.cast(queue.size(), sl.float32) * (1.0 / capacity))

    return _batches(scope, sources, batch_size, keep_input, threads, enqueue_many, shapes, final, name, make,
                    dynamic_pad, summarise)


def _shuffled(scope, sources, batch_size, keep_input, threads, capacity, min_after_dequeue, seed, enqueue_many, shapes,
              final, shared_name, name):
    def make(types, shapes):
        return sl.RandomShuffleQueue(capacity, min_after_dequeue, types, shapes, seed=seed, shared_name=shared_name)

    def summarise(queue):
        over = sl.cast(sl.maximum(0, queue.size() - min_after_dequeue), sl.float32)
        sl.summary.scalar("fraction_over_%d_of_%d_full" % (min_after_dequeue, capacity),
                          over * (1.0 / (capacity - min_after_dequeue)))

    return _batches(scope, sources, batch_size, keep_input, threads, enqueue_many, shapes, final, name, make, False,
                    summarise)


def batch(tensors, batch_size, num_threads=1, capacity=32, enqueue_many=False, shapes=None, dynamic_pad=False,
          allow_smaller_final_batch=False, shared_name=None, name=None):
    """Batches of `tensors` (a list or dictionary), in the order in which they are computed.

    With more than one thread that order is not fixed.

    Args:
      tensors: one element, or several as rows with enqueue_many.
      batch_size: how many elements make a batch.
      num_threads: how many threads compute `tensors`.
      capacity: how many elements may wait.
      enqueue_many: each row of `tensors` is an element.
      shapes: of one element; by default as inferred.
      dynamic_pad: pad elements of various sizes to the largest of the batch.
      allow_smaller_final_batch: give what is left at the end of the input, rather than drop it.
      shared_name: sessions of one server that give the same name share the queue.
      name: of the batch.
    """
    return _plain("batch", [tensors], batch_size, True, num_threads, capacity, enqueue_many, shapes, dynamic_pad,
                  allow_smaller_final_batch, shared_name, name)


def maybe_batch(tensors, keep_input, batch_size, num_threads=1, capacity=32, enqueue_many=False, shapes=None,
                dynamic_pad=False, allow_smaller_final_batch=False, shared_name=None, name=None):
    """As batch, of the elements for which `keep_input` is true."""
    return _plain("maybe_batch", [tensors], batch_size, keep_input, num_threads, capacity, enqueue_many, shapes,
                  dynamic_pad, allow_smaller_final_batch, shared_name, name)


def batch_join(tensors_list, batch_size, capacity=32, enqueue_many=False, shapes=None, dynamic_pad=False,
               allow_smaller_final_batch=False, shared_name=None, name=None):
    """As batch, from several sources, with a thread for each."""
    return _plain("batch_join", tensors_list, batch_size, True, 1, capacity, enqueue_many, shapes, dynamic_pad,
                  allow_smaller_final_batch, shared_name, name)


def maybe_batch_join(tensors_list, keep_input, batch_size, capacity=32, enqueue_many=False, shapes=None,
                     dynamic_pad=False, allow_smaller_final_batch=False, shared_name=None, name=None):
    """As batch_join, of the elements for which `keep_input` is true."""
    return _plain("maybe_batch_join", tensors_list, batch_size, keep_input, 1, capacity, enqueue_many, shapes,
                  dynamic_pad, allow_smaller_final_batch, shared_name, name)


def shuffle_batch(tensors, batch_size, capacity, min_after_dequeue, num_threads=1, seed=None, enqueue_many=False,
                  shapes=None, allow_smaller_final_batch=False, shared_name=None, name=None):
    """Batches of elements in a random order, drawn from at least `min_after_dequeue` and at most `capacity` of them."""
    return _shuffled("shuffle_batch", [tensors], batch_size, True, num_threads, capacity, min_after_dequeue, seed,
                     enqueue_many, shapes, allow_smaller_final_batch, shared_name, name)


def maybe_shuffle_batch(tensors, batch_size, capacity, min_after_dequeue, keep_input, num_threads=1, seed=None,
                        enqueue_many=False, shapes=None, allow_smaller_final_batch=False, shared_name=None, name=None):
    """As shuffle_batch, of the elements for which `keep_input` is true."""
    return _shuffled("maybe_shuffle_batch", [tensors], batch_size, keep_input, num_threads, capacity, min_after_dequeue,
                     seed, enqueue_many, shapes, allow_smaller_final_batch, shared_name, name)


def shuffle_batch_join(tensors_list, batch_size, capacity, min_after_dequeue, seed=None, enqueue_many=False, shapes=None,
                       allow_smaller_final_batch=False, shared_name=None, name=None):
    """As shuffle_batch, from several sources, with a thread for each."""
    return _shuffled("shuffle_batch_join", tensors_list, batch_size, True, 1, capacity, min_after_dequeue, seed,
                     enqueue_many, shapes, allow_smaller_final_batch, shared_name, name)


def maybe_shuffle_batch_join(tensors_list, batch_size, capacity, min_after_dequeue, keep_input, seed=None,
                             enqueue_many=False, shapes=None, allow_smaller_final_batch=False, shared_name=None,
                             name=None):
    """As shuffle_batch_join, of the elements for which `keep_input` is true."""
    return _shuffled("maybe_shuffle_batch_join", tensors_list, batch_size, keep_input, 1, capacity, min_after_dequeue,
                     seed, enqueue_many, shapes, allow_smaller_final_batch, shared_name, name)
