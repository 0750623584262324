"""A chief that was taken for dead wakes up: it may not commit what its successor has gone beyond."""
import os
import signal
import subprocess
import sys
import textwrap

import sluice as sl

DEADLINE = 120
PROGRAM = textwrap.dedent("""
    import sys, time
    import sluice as sl
    folder, last = sys.argv[1], int(sys.argv[2])
    step = sl.train.get_or_create_global_step()
    who = sl.get_variable("who", initializer=0)
    train = sl.group(sl.assign_add(step, 1), sl.assign(who, last))
    with sl.train.MonitoredTrainingSession(checkpoint_dir=folder, hooks=[sl.train.StopAtStepHook(last_step=last)],
                                           save_checkpoint_steps=10, save_summaries_steps=None,
                                           log_step_count_steps=None) as session:
        while not session.should_stop():
            session.run(train)
            print("step", flush=True)
    print("done", flush=True)
    """)


def chief(folder, last):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(last)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def test_a_chief_that_wakes_up_after_it_was_replaced_is_refused(tmp_path):
    zombie = chief(tmp_path, 10**9)
    try:
        for _ in range(25):
            assert zombie.stdout.readline() == "step\n"
        zombie.send_signal(signal.SIGSTOP)
        successor = chief(tmp_path, 200)
        output, errors = successor.communicate(timeout=DEADLINE)
        assert successor.returncode == 0 and output.endswith("done\n"), errors
        before = sorted(os.listdir(tmp_path))
        zombie.send_signal(signal.SIGCONT)
        _, errors = zombie.communicate(timeout=DEADLINE)
        assert zombie.returncode == 1
        assert "FailedPreconditionError" in errors and "was taken by" in errors and ":%d;" % successor.pid in errors
    finally:
        zombie.kill()
    assert sorted(os.listdir(tmp_path)) == before
    assert sl.train.load_variable(str(tmp_path), "who") == 200
    assert sl.train.latest_checkpoint(str(tmp_path)).endswith("model.ckpt-%d" % (200))
