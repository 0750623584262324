"""SavedModels: written, read, and refused with a reason."""
import os

import numpy as np
import pytest

import sluice as sl

X = np.array([[1, 2], [3, 4]], np.float32)


def export(folder):
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.placeholder(sl.float32, [None, 2], name="x")
        w = sl.get_variable("w", initializer=np.array([[1], [10]], np.float32))
        y = sl.matmul(x, w, name="y")
        session.run(sl.global_variables_initializer())
        sl.saved_model.simple_save(session, folder, {"images": x}, {"scores": y})


def test_a_model_is_saved_and_loaded_by_its_signature(tmp_path):
    folder = str(tmp_path / "model")
    export(folder)
    assert sorted(os.listdir(folder)) == ["saved_model.pb", "variables"]
    assert sorted(os.listdir(folder + "/variables")) == ["variables.data-00000-of-00001", "variables.index"]
    with sl.Graph().as_default(), sl.Session() as session:
        meta = sl.saved_model.load(session, [sl.saved_model.SERVING], folder)
        signature = meta.signature_def[sl.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY]
        assert signature.method_name == "tensorflow/serving/predict"
        got = session.run(signature.outputs["scores"].name, {signature.inputs["images"].name: X})
        np.testing.assert_array_equal(got, [[21], [43]])


def test_a_folder_in_use_a_missing_model_and_wrong_tags_are_refused(tmp_path):
    folder = str(tmp_path / "model")
    export(folder)
    with pytest.raises(AssertionError, match="isn't empty"):
        export(folder)
    with sl.Graph().as_default(), sl.Session() as session:
        with pytest.raises(RuntimeError, match="serve"):
            sl.saved_model.load(session, ["train"], folder)
        with pytest.raises(OSError, match="does not exist"):
            sl.saved_model.load(session, ["serve"], str(tmp_path))
        with open(os.path.join(folder, "saved_model.pb"), "wb") as f:
            f.write(b"\xff\xff\xff")
        with pytest.raises(OSError, match="Cannot parse"):
            sl.saved_model.load(session, ["serve"], folder)
    assert sl.saved_model.maybe_saved_model_directory(folder)
