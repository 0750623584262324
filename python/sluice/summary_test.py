"""Summaries: names, tags, and event files that come back as they were written."""
import glob
import os

import numpy as np
import pytest

import sluice as sl


@pytest.fixture(autouse=True)
def graph():
    with sl.Graph().as_default() as g:
        yield g


def events(folder):
    path, = glob.glob(os.path.join(str(folder), "events.out.tfevents.*"))
    return list(sl.train.summary_iterator(path))


def test_summaries_are_tagged_by_scope_and_collected():
    with sl.name_scope("tower"):
        s = sl.summary.scalar("loss", 1.0)
    f = sl.summary.scalar("a b", 2.0, family="fam")
    sl.summary.histogram("hidden", [1.0, 2.0], collections=["others"])
    assert s.op.name == "tower/loss" and f.op.name == "fam/a_b"
    assert sl.get_collection(sl.GraphKeys.SUMMARIES) == [s, f]
    merged = sl.summary.merge_all()
    assert merged.op.name == "Merge/MergeSummary"
    with sl.Session() as session:
        message = sl.summary.Summary.FromString(session.run(merged))
    assert [(v.tag, v.simple_value) for v in message.value] == [("tower/loss", 1.0), ("fam/fam/a_b", 2.0)]
    assert sl.summary.merge_all("nothing") is None


def test_a_writer_writes_events_in_order(tmp_path):
    loss = sl.summary.scalar("loss", 0.5)
    image = sl.summary.image("picture", np.zeros([1, 4, 4, 3], np.float32))
    with sl.Session() as session, sl.summary.FileWriter(str(tmp_path), session.graph) as writer:
        for step in range(30):  # more than the queue holds
            writer.add_summary(session.run(loss), step)
        writer.add_summary(session.run(image), 30)
    found = events(tmp_path)
    assert found[0].file_version == "brain.Event:2"
    graph = sl.GraphDef.FromString([e for e in found if e.WhichOneof("what") == "graph_def"][0].graph_def)
    assert "loss" in [n.name for n in graph.node]
    summaries = [e for e in found if e.WhichOneof("what") == "summary"]
    assert [e.step for e in summaries] == list(range(31))
    assert summaries[3].summary.value[0].simple_value == 0.5
    assert summaries[-1].summary.value[0].image.encoded_image_string[:4] == b"\x89PNG"


def test_a_histogram_counts_all_values(tmp_path):
    values = np.random.RandomState(0).normal(size=1000).astype(np.float32)
    h = sl.summary.histogram("h", values)
    with sl.Session() as session:
        histo = sl.summary.Summary.FromString(session.run(h)).value[0].histo
    assert histo.num == 1000 and sum(histo.bucket) == 1000
    np.testing.assert_allclose([histo.min, histo.max, histo.sum], [values.min(), values.max(), values.sum()], rtol=1e-4)


def test_flush_makes_events_visible_and_closing_twice_is_harmless(tmp_path):
    writer = sl.summary.FileWriter(str(tmp_path))
    writer.add_summary(b"", 1)
    writer.flush()
    assert len(events(tmp_path)) == 2
    writer.close()
    writer.close()
    writer.add_summary(b"", 2)
    assert len(events(tmp_path)) == 2


def test_run_metadata_needs_a_tag_of_its_own(tmp_path):
    with sl.summary.FileWriter(str(tmp_path)) as writer:
        writer.add_run_metadata(sl.RunMetadata(), "step 1", 1)
        with pytest.raises(ValueError, match="step 1"):
            writer.add_run_metadata(sl.RunMetadata(), "step 1", 2)
    assert events(tmp_path)[1].tagged_run_metadata.tag == "step 1"


def test_the_cache_has_one_writer_for_a_folder(tmp_path):
    a = sl.summary.FileWriterCache.get(str(tmp_path))
    assert sl.summary.FileWriterCache.get(str(tmp_path)) is a
    sl.summary.FileWriterCache.clear()
