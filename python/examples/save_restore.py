"""Checkpoints: save, look inside, restore into another session, and rebuild the graph itself from the file."""
import os
import tempfile

import sluice as sl

folder = tempfile.mkdtemp(prefix="sluice_")
weights = sl.get_variable("weights", [2, 3])
step = sl.train.get_or_create_global_step()
doubled = sl.multiply(weights, 2, name="doubled")
saver = sl.train.Saver(max_to_keep=2)

with sl.Session() as session:
    session.run(sl.global_variables_initializer())
    for _ in range(4):
        session.run(sl.assign_add(step, 100))
        saver.save(session, os.path.join(folder, "model"), global_step=step)
    before = session.run(doubled)

latest = sl.train.latest_checkpoint(folder)
print("kept:     %s" % ", ".join(os.path.basename(path) for path in saver.last_checkpoints))
for name, shape in sl.train.list_variables(latest):
    print("holds:    %s %s" % (name, shape))

with sl.Session() as session:
    saver.restore(session, latest)
    print("restored: step %d" % sl.train.global_step(session, step))

# Nothing of the program above is needed to use the model: the graph is in the .meta file.
with sl.Graph().as_default(), sl.Session() as session:
    sl.train.import_meta_graph(latest + ".meta").restore(session, latest)
    after = session.run("doubled:0")
print("rebuilt:  %s" % ("the same values" if (before == after).all() else "other values"))
