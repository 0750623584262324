"""What Sluice writes, TensorFlow and TensorBoard read, and the other way round; checked with the real packages.

    ./dev bench --peers interop

Not a benchmark of speed: it lives here because the environment with TensorFlow is the benchmarks'. Without --peers it only says so.
Each check prints a line; the exit status is 1 when one fails.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent

# The program that both libraries run: a small trained model with every kind of file.
PROGRAM = """
import sys, numpy as np
where, library = sys.argv[1:3]
if library == 'sluice':
    import sluice as tf
else:
    import os
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    import tensorflow
    tensorflow.compat.v1.disable_eager_execution()
    tf = tensorflow.compat.v1
tf.set_random_seed(7)
x = tf.placeholder(tf.float32, [None, 8, 8, 1], name='x')
h = tf.nn.relu(tf.nn.conv2d(x, tf.get_variable('filter', [3, 3, 1, 4], initializer=tf.truncated_normal_initializer(stddev=0.5)),
                            strides=[1, 1, 1, 1], padding='SAME', name='conv'))
h = tf.reshape(tf.nn.max_pool(h, [1, 2, 2, 1], [1, 2, 2, 1], 'SAME'), [-1, 64])
w = tf.get_variable('weights', [64, 3], initializer=tf.random_uniform_initializer(-1, 1))
y = tf.identity(tf.nn.softmax(tf.matmul(h, w) + tf.get_variable('bias', [3], initializer=tf.zeros_initializer())), name='y')
count = tf.Variable(41, dtype=tf.int64, name='count', trainable=False)
names = tf.Variable(['one', 'two'], name='names', trainable=False)
loss = -tf.reduce_mean(tf.log(y[:, 0] + 1e-6))
step = tf.train.MomentumOptimizer(0.05, 0.9).minimize(loss, global_step=tf.train.get_or_create_global_step())
tf.summary.scalar('loss', loss)
tf.summary.histogram('weights', w)
tf.summary.image('input', x, max_outputs=2)
merged = tf.summary.merge_all()
saver = tf.train.Saver()
data = np.random.RandomState(0).uniform(0, 1, (16, 8, 8, 1)).astype(np.float32)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    writer = tf.summary.FileWriter(where + '/events', session.graph)
    for i in range(5):
        summary, _ = session.run([merged, step], {x: data})
        writer.add_summary(summary, i)
    writer.close()
    saver.save(session, where + '/model', global_step=5)
    values = session.run({v.op.name: v for v in tf.global_variables() if v.dtype.base_dtype != tf.string})
    np.savez(where + '/values.npz', y=session.run(y, {x: data}), loss=session.run(loss, {x: data}), **values)
    with open(where + '/graph.pb', 'wb') as f:
        f.write(session.graph.as_graph_def().SerializeToString())
"""

# Reads what the other library wrote: the checkpoint directly, and the graph with the checkpoint restored into it.
READER = """
import sys, json, numpy as np
where, library = sys.argv[1:3]
if library == 'sluice':
    import sluice as tf
else:
    import os
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    import tensorflow
    tensorflow.compat.v1.disable_eager_execution()
    tf = tensorflow.compat.v1
wanted = np.load(where + '/values.npz')
answers = {}
prefix = tf.train.latest_checkpoint(where)
reader = tf.train.load_checkpoint(prefix)
for name in wanted.files:
    if name in ('y', 'loss'):
        continue
    got = reader.get_tensor(name)
    answers['checkpoint: ' + name] = bool(got.dtype == wanted[name].dtype and np.array_equal(got, wanted[name]))
answers['checkpoint: strings'] = [bytes(s) for s in reader.get_tensor('names')] == [b'one', b'two']
with tf.Graph().as_default() as graph:
    saver = tf.train.import_meta_graph(prefix + '.meta')
    with tf.Session() as session:
        saver.restore(session, prefix)
        data = np.random.RandomState(0).uniform(0, 1, (16, 8, 8, 1)).astype(np.float32)
        y = session.run('y:0', {'x:0': data})
        answers['meta graph restored: y'] = bool(np.allclose(y, wanted['y'], rtol=1e-5, atol=1e-6))
with tf.Graph().as_default():
    definition = tf.GraphDef()
    with open(where + '/graph.pb', 'rb') as f:
        definition.ParseFromString(f.read())
    tf.import_graph_def(definition, name='imported')
    answers['graph imported: %d nodes' % len(definition.node)] = True
print(json.dumps(answers))
"""

TENSORBOARD = """
import sys, json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1] + '/events', size_guidance={'scalars': 0, 'histograms': 0, 'images': 0})
events.Reload()
tags = events.Tags()
answers = {'scalars: 5 of loss': len(events.Scalars('loss')) == 5,
           'histograms: 5 of weights': any(t.startswith('weights') and len(events.Histograms(t)) == 5 for t in tags['histograms']),
           'images': any(t.startswith('input/image') for t in tags['images']),
           'image bytes are a PNG': all(events.Images(t)[0].encoded_image_string[:4] == b'\\x89PNG' for t in tags['images']),
           'graph': bool(tags['graph']) and len(events.Graph().node) > 20}
print(json.dumps(answers))
"""


def run(python, code, *arguments):
    child = subprocess.run([python, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env=_environment(python), timeout=600)
    if child.returncode != 0:
        return {child.stderr.strip().splitlines()[-1][:300] if child.stderr.strip() else "it died": False}
    lines = child.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def _environment(python):
    import os
    environment = dict(os.environ)
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)
    return environment


def main():
    if "--peers" not in sys.argv:
        print("skipped: it needs TensorFlow and TensorBoard; run with --peers")
        return 0
    sys.path.insert(0, str(HERE))
    from suite_benchmark import install_peers
    peers = install_peers()
    failed = 0

    def report(title, answers):
        nonlocal failed
        for what, ok in answers.items():
            failed += not ok
            print(f"  {'ok    ' if ok else 'FAILED'} {title}: {what}")

    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        report("Sluice runs the program", run(sys.executable, PROGRAM, ours, "sluice") or {"it ran": True})
        report("TensorFlow runs the program", run(peers, PROGRAM, theirs, "tensorflow") or {"it ran": True})
        report("TensorFlow reads what Sluice wrote", run(peers, READER, ours, "tensorflow"))
        report("Sluice reads what TensorFlow wrote", run(sys.executable, READER, theirs, "sluice"))
        report("TensorBoard reads Sluice's events", run(peers, TENSORBOARD, ours))
        a, b = np.load(ours + "/values.npz"), np.load(theirs + "/values.npz")
        for name in sorted(set(a.files) & set(b.files)):
            same = np.allclose(a[name], b[name], rtol=1e-4, atol=1e-5)
            report("both trained to the same values (same seeds)", {name: bool(same)})
    print(f"{failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
