"""Saver, checkpoints, meta graphs: what is on disk, and what comes back."""
import os

import numpy as np
import pytest

import sluice as sl


@pytest.fixture(autouse=True)
def graph():
    with sl.Graph().as_default() as g:
        yield g


def variables(resource=False):
    a = sl.get_variable("a", initializer=np.arange(6, dtype=np.float32).reshape(2, 3), use_resource=resource)
    b = sl.get_variable("scope/b", initializer=np.array([1, 2], np.int64), use_resource=resource)
    return a, b


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_what_was_saved_is_restored(tmp_path, resource, sharded):
    a, b = variables(resource)
    saver = sl.train.Saver(sharded=sharded)
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        path = saver.save(session, str(tmp_path / "model"))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "checkpoint.manifest", "model.data-00000-of-00001", "model.index",
                                                "model.meta"]
    with sl.Session() as session:
        saver.restore(session, path)
        np.testing.assert_array_equal(session.run(a), np.arange(6).reshape(2, 3))
        np.testing.assert_array_equal(session.run(b), [1, 2])


def test_the_nodes_have_the_names_that_other_programs_expect(graph):
    variables()
    sl.train.Saver()
    names = [op.name for op in graph.get_operations()]
    for name in ("save/filename/input", "save/filename", "save/Const", "save/SaveV2/tensor_names",
                 "save/SaveV2/shape_and_slices", "save/SaveV2", "save/control_dependency", "save/RestoreV2/tensor_names",
                 "save/RestoreV2", "save/Assign", "save/Assign_1", "save/restore_all"):
        assert name in names
    sl.train.Saver(sharded=True)
    names = [op.name for op in graph.get_operations()]
    for name in ("save_1/num_shards", "save_1/ShardedFilename", "save_1/MergeV2Checkpoints", "save_1/restore_shard",
                 "save_1/restore_all"):
        assert name in names


def test_a_saver_describes_itself():
    variables()
    definition = sl.train.Saver(max_to_keep=3).as_saver_def()
    assert definition.filename_tensor_name == "save/Const:0"
    assert definition.save_tensor_name == "save/control_dependency:0"
    assert definition.restore_op_name == "save/restore_all"
    assert (definition.max_to_keep, definition.version) == (3, 2)


def test_the_newest_checkpoints_are_kept_and_named_in_the_state_file(tmp_path):
    variables()
    saver = sl.train.Saver(max_to_keep=2)
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        for step in range(5):
            saver.save(session, str(tmp_path / "m"), global_step=step, write_meta_graph=False)
    kept = [str(tmp_path / "m-3"), str(tmp_path / "m-4")]
    assert saver.last_checkpoints == kept and sl.train.latest_checkpoint(str(tmp_path)) == kept[-1]
    assert sorted(f for f in os.listdir(tmp_path) if f.endswith(".index")) == ["m-3.index", "m-4.index"]
    state = sl.train.get_checkpoint_state(str(tmp_path))
    assert state.model_checkpoint_path == kept[-1] and list(state.all_model_checkpoint_paths) == kept


@pytest.mark.parametrize("damage", ["no index", "no data", "short data", "bad index"])
def test_an_incomplete_checkpoint_is_skipped_for_the_one_before(tmp_path, damage):
    variables()
    saver = sl.train.Saver()
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        first = saver.save(session, str(tmp_path / "m"), global_step=1)
        second = saver.save(session, str(tmp_path / "m"), global_step=2)
    data, index = second + ".data-00000-of-00001", second + ".index"
    if damage == "no index":
        os.remove(index)
    elif damage == "no data":
        os.remove(data)
    elif damage == "short data":
        os.truncate(data, os.path.getsize(data) - 1)
    else:
        content = bytearray(open(index, "rb").read())
        content[3] ^= 0x55
        open(index, "wb").write(content)
    assert sl.train.latest_checkpoint(str(tmp_path)) == first


def test_a_partitioned_variable_is_one_tensor_of_the_checkpoint(tmp_path):
    whole = np.arange(12, dtype=np.float32).reshape(6, 2)
    p = sl.get_variable("p", [6, 2], partitioner=sl.fixed_size_partitioner(3), initializer=sl.zeros_initializer())
    saver = sl.train.Saver()
    with sl.Session() as session:
        for i, part in enumerate(p):
            session.run(sl.assign(part, whole[2 * i:2 * i + 2]))
        path = saver.save(session, str(tmp_path / "m"))
    assert sl.train.list_variables(path) == [("p", [6, 2])]
    np.testing.assert_array_equal(sl.train.load_variable(path, "p"), whole)
    with sl.Graph().as_default(), sl.Session() as session:
        other = sl.get_variable("p", [6, 2], partitioner=sl.fixed_size_partitioner(2))
        sl.train.Saver().restore(session, path)
        np.testing.assert_array_equal(session.run(sl.convert_to_tensor(other)), whole)


def test_a_reader_shows_names_types_shapes_and_values(tmp_path):
    variables()
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        path = sl.train.Saver().save(session, str(tmp_path / "m"))
    reader = sl.train.NewCheckpointReader(path)
    assert reader.get_variable_to_shape_map() == {"a": [2, 3], "scope/b": [2]}
    assert reader.get_variable_to_dtype_map() == {"a": sl.float32, "scope/b": sl.int64}
    assert reader.has_tensor("a") and not reader.has_tensor("c")
    np.testing.assert_array_equal(reader.get_tensor("scope/b"), [1, 2])
    with pytest.raises(sl.errors.NotFoundError, match="c"):
        reader.get_tensor("c")


def test_the_graph_comes_back_from_the_meta_file_also_under_a_scope(tmp_path):
    a, _ = variables()
    sl.add_to_collection("outputs", sl.multiply(a, 2, name="twice"))
    sl.add_to_collection("numbers", 7)
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        path = sl.train.Saver().save(session, str(tmp_path / "m"))
    for scope in (None, "inner"):
        with sl.Graph().as_default() as graph, sl.Session() as session:
            sl.train.import_meta_graph(path + ".meta", import_scope=scope).restore(session, path)
            output, = graph.get_collection("outputs")
            assert output.name == ("inner/twice:0" if scope else "twice:0")
            np.testing.assert_array_equal(session.run(output), 2 * np.arange(6).reshape(2, 3))
            assert graph.get_collection("numbers") == [7]
            assert [v.op.name for v in sl.trainable_variables()] == [
                (scope + "/" if scope else "") + n for n in ("a", "scope/b")]


def test_restoring_what_does_not_fit_names_the_checkpoint(tmp_path):
    variables()
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        path = sl.train.Saver().save(session, str(tmp_path / "m"))
        with pytest.raises(ValueError, match="nowhere"):
            sl.train.Saver().restore(session, str(tmp_path / "nowhere"))
        with pytest.raises(ValueError, match="Parent directory"):
            sl.train.Saver().save(session, str(tmp_path / "no" / "m"))
    with sl.Graph().as_default(), sl.Session() as session:
        sl.get_variable("other", [2])
        with pytest.raises(sl.errors.NotFoundError, match="other"):
            sl.train.Saver().restore(session, path)
    with sl.Graph().as_default(), sl.Session() as session:
        sl.get_variable("a", [5, 5])
        with pytest.raises(sl.errors.InvalidArgumentError, match="a"):
            sl.train.Saver().restore(session, path)


def test_a_saver_refuses_what_it_cannot_save():
    with pytest.raises(ValueError, match="No variables"):
        sl.train.Saver()
    a, b = variables()
    with pytest.raises(ValueError, match="same name"):
        sl.train.Saver([a, a])
    with pytest.raises(TypeError, match="not a Variable"):
        sl.train.Saver([sl.constant(1.0)])


def test_the_state_file_survives_strange_paths(tmp_path):
    folder = tmp_path / 'a "quoted" \\ näme'
    folder.mkdir()
    sl.train.update_checkpoint_state(str(folder), str(folder / "m-1"), [str(folder / "m-0"), str(folder / "m-1")])
    state = sl.train.get_checkpoint_state(str(folder))
    assert state.model_checkpoint_path == str(folder / "m-1")
    assert len(state.all_model_checkpoint_paths) == 2


@pytest.mark.parametrize("mapping", [{"a": "new/a"}, {"/": "new/"}])
def test_variables_start_from_another_checkpoint(tmp_path, mapping):
    variables()
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        path = sl.train.Saver().save(session, str(tmp_path / "m"))
    with sl.Graph().as_default(), sl.Session() as session:
        with sl.variable_scope("new"):
            a = sl.get_variable("a", [2, 3])
        sl.train.init_from_checkpoint(path, mapping)
        session.run(sl.global_variables_initializer())
        np.testing.assert_array_equal(session.run(a), np.arange(6).reshape(2, 3))
        with pytest.raises(ValueError, match="nothing"):
            sl.train.init_from_checkpoint(path, {"nothing": a})
        with pytest.raises(ValueError, match="Shape"):
            sl.train.init_from_checkpoint(path, {"scope/b": a})


def test_new_checkpoints_are_given_one_after_the_other(tmp_path):
    variables()
    saver, asked, found = sl.train.Saver(), [], []
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())

        def save_another():
            asked.append(True)
            if len(asked) > 2:
                return True
            saver.save(session, str(tmp_path / "m"), global_step=len(asked), write_meta_graph=False)
            return False

        for path in sl.train.checkpoints_iterator(str(tmp_path), timeout=0, timeout_fn=save_another):
            found.append(path)
    assert found == [str(tmp_path / "m-1"), str(tmp_path / "m-2")]
    assert not list(sl.train.checkpoints_iterator(str(tmp_path / "none"), timeout=0))
