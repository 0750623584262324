"""Trains a convolutional network to recognise clothes (Fashion-MNIST) and shows what a training run leaves behind.

It trains with a progress bar, evaluates on 10,000 images that it never saw, saves a checkpoint, restores it in a new
session and evaluates again to the same bits. It writes TensorBoard events, a Chrome trace of one step and a picture of
sample predictions, and says where each is. Ctrl-C saves a checkpoint; running again goes on from there, with the
batches that were not yet seen.
"""
import argparse
import collections
import os
import signal
import sys
import time

import numpy as np

import sluice as sl

Model = collections.namedtuple(
    "Model", "images labels training loss accuracy predictions step train summaries histograms")


def build_model(seed, learning_rate, last_step):
    """Adds the network, its loss, its optimiser and its summaries to the default graph."""
    sl.set_random_seed(seed)
    images = sl.placeholder(sl.uint8, [None, 28, 28], name="images")
    labels = sl.placeholder(sl.int32, [None], name="labels")
    training = sl.placeholder_with_default(False, [], name="training")

    x = sl.expand_dims(sl.cast(images, sl.float32) / 255.0, -1)
    sl.summary.image("images", x, max_outputs=6, collections=["histograms"])
    x = sl.layers.conv2d(x, 32, 3, padding="same", activation=sl.nn.relu, name="conv1")
    x = sl.layers.max_pooling2d(x, 2, 2, name="pool1")
    x = sl.layers.conv2d(x, 64, 3, padding="same", activation=sl.nn.relu, name="conv2")
    x = sl.layers.max_pooling2d(x, 2, 2, name="pool2")
    x = sl.layers.dense(sl.layers.flatten(x), 128, activation=sl.nn.relu, name="dense")
    x = sl.layers.dropout(x, 0.3, training=training, name="dropout")
    logits = sl.layers.dense(x, 10, name="logits")

    loss = sl.losses.sparse_softmax_cross_entropy(labels, logits)
    predictions = sl.argmax(logits, 1, output_type=sl.int32, name="predictions")
    accuracy = sl.reduce_mean(sl.cast(sl.equal(predictions, labels), sl.float32), name="accuracy")
    step = sl.train.get_or_create_global_step()
    rate = sl.train.cosine_decay(learning_rate, step, max(last_step, 1))
    train = sl.train.AdamOptimizer(rate).minimize(loss, global_step=step)

    summaries = [sl.summary.scalar("loss", loss), sl.summary.scalar("accuracy", accuracy),
                 sl.summary.scalar("learning_rate", rate)]
    for variable in sl.trainable_variables():
        sl.summary.histogram(variable.op.name, variable, collections=["histograms"])
    return Model(images, labels, training, loss, accuracy, predictions, step, train, sl.summary.merge(summaries),
                 sl.summary.merge_all("histograms"))


def batches(data, batch_size, seed, first, last):
    """(step, images, labels) for the steps from `first` up to `last`: a function of the step alone, so a run that was
    interrupted goes on with exactly the batches that it had not seen."""
    per_epoch = len(data.train_labels) // batch_size
    epoch, order = None, None
    for step in range(first, last):
        if epoch != step // per_epoch:
            epoch = step // per_epoch
            order = np.random.RandomState(seed + epoch).permutation(len(data.train_labels))
        at = step % per_epoch * batch_size
        chosen = order[at:at + batch_size]
        yield step, data.train_images[chosen], data.train_labels[chosen]


def stop_on_ctrl_c():
    """A list that Ctrl-C puts something into, so that no step is cut in half. A second Ctrl-C ends the program."""
    asked = []

    def stop(*_):
        asked.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop)
    return asked


def train(session, model, saver, writer, data, options, last_step):
    """Trains up to `last_step`; returns False when Ctrl-C ended it before. The last step is saved either way."""
    first = session.run(model.step)
    per_epoch = len(data.train_labels) // options.batch_size
    checkpoint = os.path.join(options.model_dir, "model.ckpt")
    stop = stop_on_ctrl_c()
    loss = accuracy = None
    with sl.progress(total=last_step * options.batch_size, initial=first * options.batch_size, label="training",
                     unit="images") as bar:
        for step, images, labels in batches(data, options.batch_size, options.seed, first, last_step):
            feed = {model.images: images, model.labels: labels, model.training: True}
            if step % 200 == 0:
                writer.add_summary(session.run(model.histograms, feed), step)
            if step == first + 20:
                trace_step(session, model, feed, writer, step, options)
            elif step % 50 == 0:
                batch_loss, batch_accuracy, summary, _ = session.run(
                    [model.loss, model.accuracy, model.summaries, model.train], feed)
                writer.add_summary(summary, step)
            else:
                batch_loss, batch_accuracy, _ = session.run([model.loss, model.accuracy, model.train], feed)
            # What the bar shows are running means.
            loss = batch_loss if loss is None else 0.95 * loss + 0.05 * batch_loss
            accuracy = batch_accuracy if accuracy is None else 0.95 * accuracy + 0.05 * batch_accuracy
            bar.update(len(labels), loss=float(loss), accuracy=float(accuracy))
            if stop:
                break
            if (step + 1) % per_epoch == 0 and step + 1 < last_step:
                saver.save(session, checkpoint, global_step=model.step)
    # The checkpoint holds the step, so the next run knows where to go on.
    print("checkpoint:    %s" % saver.save(session, checkpoint, global_step=model.step))
    return not stop


def trace_step(session, model, feed, writer, step, options):
    """Runs one training step with statistics and writes them as a Chrome trace and for TensorBoard."""
    metadata = sl.RunMetadata()
    session.run(model.train, feed, options=sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE), run_metadata=metadata)
    writer.add_run_metadata(metadata, "step %d" % step, step)
    with open(os.path.join(options.model_dir, "trace.json"), "w") as f:
        f.write(sl.timeline.Timeline(metadata.step_stats, session.graph).generate_chrome_trace_format())


def evaluate(session, model, data, size=1000):
    """(accuracy, loss) on the test images, both exact: the same variables give the same bits."""
    right = total = 0
    for at in range(0, len(data.test_labels), size):
        labels = data.test_labels[at:at + size]
        loss, predictions = session.run([model.loss, model.predictions],
                                        {model.images: data.test_images[at:at + size], model.labels: labels})
        right += int(np.sum(predictions == labels))
        total += float(loss) * len(labels)
    return right / len(data.test_labels), total / len(data.test_labels)


def write_picture(session, model, data, path, rows=6, columns=10):
    """Sample test images as a PNG: a green frame where the prediction is right, a red one where it is wrong, with
    what was predicted below."""
    count = rows * columns
    images, labels = data.test_images[:count], data.test_labels[:count]
    predictions = session.run(model.predictions, {model.images: images})
    tile = np.full([count, 84, 70, 3], 255, np.uint8)
    for i, (image, label, prediction) in enumerate(zip(images, labels, predictions)):
        tile[i, 2:64, 4:66] = (40, 160, 70) if label == prediction else (210, 50, 40)
        tile[i, 5:61, 7:63] = 255 - np.kron(image, np.ones([2, 2], np.uint8))[..., np.newaxis]
        draw_text(tile[i], 68, 4, sl.data_files.FASHION_MNIST_CLASSES[prediction].upper())
    page = tile.reshape(rows, columns, 84, 70, 3).swapaxes(1, 2).reshape(rows * 84, columns * 70, 3)
    with sl.Graph().as_default(), sl.Session() as picture_session:
        png = picture_session.run(sl.image.encode_png(sl.constant(page)))
    with open(path, "wb") as f:
        f.write(png)
    return int(np.sum(predictions == labels)), count


# Letters of 3x5 dots, each row three bits: enough for the names of the classes.
LETTERS = dict(zip("ABCDEFGHIKLNOPRSTUVW-/ ", (
    "25755 65656 34443 65556 74647 74644 34553 55755 72227 55655 44447 57755 25552 65644 65655 34216 72222 55557 55552 "
    "55775 00700 11244 00000").split()))


def draw_text(tile, top, left, text):
    for letter in text:
        for y, row in enumerate(LETTERS[letter]):
            for x in range(3):
                if int(row) >> (2 - x) & 1:
                    tile[top + 2 * y:top + 2 * y + 2, left + 2 * x:left + 2 * x + 2] = 60
        left += 6 if len(text) > 8 else 7


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="passes over the 60,000 images (default 5)")
    parser.add_argument("--steps", type=int, help="train so many steps instead of whole epochs")
    parser.add_argument("--batch_size", type=int, default=128, help="images in a step (default 128)")
    parser.add_argument("--learning_rate", type=float, default=0.002, help="Adam's first learning rate (default 0.002)")
    parser.add_argument("--model_dir", default="fashion_mnist_model", help="where everything is written")
    parser.add_argument("--data_dir", help="folder with the four IDX files (default: Debian's dataset-fashion-mnist)")
    parser.add_argument("--seed", type=int, default=1, help="of weights, batches and dropout (default 1)")
    options = parser.parse_args()
    if options.batch_size < 1 or options.epochs < 0 or (options.steps or 0) < 0:
        parser.error("--batch_size must be at least 1, --epochs and --steps not negative")

    data = sl.data_files.fashion_mnist(options.data_dir)
    if options.batch_size > len(data.train_labels):
        parser.error("--batch_size is %d, but there are %d images" % (options.batch_size, len(data.train_labels)))
    last_step = options.steps
    if last_step is None:
        last_step = options.epochs * (len(data.train_labels) // options.batch_size)
    os.makedirs(options.model_dir, exist_ok=True)

    model = build_model(options.seed, options.learning_rate, last_step)
    saver = sl.train.Saver(max_to_keep=2)
    start = time.time()
    with sl.Session() as session, sl.summary.FileWriter(options.model_dir, session.graph) as writer:
        session.run(sl.global_variables_initializer())
        latest = sl.train.latest_checkpoint(options.model_dir)
        if latest:
            saver.restore(session, latest)
            saver.recover_last_checkpoints(sl.train.get_checkpoint_state(options.model_dir).all_model_checkpoint_paths)
            print("going on from  %s" % latest)
        if not train(session, model, saver, writer, data, options, last_step):
            print("interrupted; run the same command to go on")
            return 130
        accuracy, loss = evaluate(session, model, data)
        picture = os.path.join(options.model_dir, "predictions.png")
        right, shown = write_picture(session, model, data, picture)
    print("test accuracy: %.2f %%  (loss %.4f) after %d steps, %.0f s" % (100 * accuracy, loss, last_step,
                                                                         time.time() - start))

    # A new graph and a new session, with nothing but the checkpoint in common.
    with sl.Graph().as_default(), sl.Session() as session:
        restored = build_model(options.seed, options.learning_rate, last_step)
        sl.train.Saver().restore(session, sl.train.latest_checkpoint(options.model_dir))
        again = evaluate(session, restored, data)
    if again != (accuracy, loss):
        print("restored:      accuracy and loss differ: %r, then %r" % ((accuracy, loss), again))
        return 1
    print("restored:      the same accuracy and loss, bit for bit")
    print("predictions:   %s  (%d of %d right)" % (picture, right, shown))
    trace = os.path.join(options.model_dir, "trace.json")
    if os.path.exists(trace):
        print("trace:         %s  (open it in ui.perfetto.dev or chrome://tracing)" % trace)
    print("events:        tensorboard --logdir %s" % options.model_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
