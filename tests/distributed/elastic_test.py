"""Workers that join a running training and leave it: it goes on with those who are there, and each push counts once or not."""
import io
import json
import os
import sys
import threading

import pytest

import etcd
from sluice.distribute.launcher import Launcher

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "elastic_program.py")
DEADLINE = 120


class Output(io.BytesIO):
    def isatty(self):
        return False


class Elastic(Launcher):
    """Two workers; a third joins at step 60; at its tenth step worker 1 is killed, for good; the end is 200 steps later."""

    def __init__(self, mode, folder, **more):
        self.sends, self.sent, self.result, self.events = {}, {}, None, []
        self.steps_of_third, self._last = 0, str(folder) + ".last"
        super().__init__({"ps": 1, "worker": (2, 3)}, [sys.executable, "-u", PROGRAM, mode, str(folder), self._last],
                         output=Output(), watch=Elastic._see, **more)

    def train(self):
        timer = threading.Timer(DEADLINE, self.interrupt)
        timer.start()
        try:
            code = self.run()
        finally:
            timer.cancel()
        text = self._output.getvalue().decode()
        assert code == 0 and self.result is not None and self.events == ["joined", "killed"], "exit code %d\n%s" % (code, text[-6000:])
        assert "going on with 2 of job worker" in text, text[-6000:]
        return text[-6000:]

    def _see(self, task, line):
        word, _, rest = line.partition(" ")
        if word == "sends":
            self.sends[task] = int(rest)
        elif word == "sent":
            self.sent[task] = int(rest)
        elif word == "result":
            self.result = json.loads(rest)
        elif word == "step" and task == "worker/0" and not self.events and int(rest) >= 60:
            self.events.append("joined")
            self.add("worker")
        elif word == "step" and task == "worker/2":
            self.steps_of_third += 1
            if self.steps_of_third == 10:
                self.events.append("killed")
                self.kill("worker/1")
                with open(self._last + ".new", "w", encoding="utf-8") as f:
                    f.write(str(int(rest) + 200))
                os.rename(self._last + ".new", self._last)


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_workers_join_and_leave_and_every_push_counts_once_or_not(tmp_path, mode):
    training = Elastic(mode, tmp_path)
    text = training.train()
    result, applied = training.result, training.result["applied"]
    assert result["steps"] >= 260 and result["accuracy"] > 0.95, text
    assert all(a == int(a) for a in applied), applied
    assert set(training.sent) == {"worker/0", "worker/2"}, text
    if mode == "async":
        # What was sent was applied; of the one that was killed, perhaps not the last.
        assert [applied[0], applied[2]] == [training.sent["worker/0"], training.sent["worker/2"]], text
        assert training.sends["worker/1"] - 1 <= applied[1] <= training.sends["worker/1"], text
        # The push in which worker 1 died may have changed some variables and not others; the step comes last.
        assert sum(applied) - 1 <= result["steps"] <= sum(applied)
    else:
        # Each update is that of two workers; the rest of what was sent came late and was dropped.
        assert sum(applied) == 2 * result["steps"], text
        for worker, count in training.sends.items():
            assert 0 < applied[int(worker[-1])] <= count, text


@pytest.mark.skipif(etcd.missing() is not None, reason=str(etcd.missing()))
@pytest.mark.parametrize("mode", ["async", "stale"])
def test_workers_that_find_each_other_in_etcd_do_the_same(tmp_path, mode):
    with etcd.Etcd(tmp_path / "etcd") as server:
        training = Elastic(mode, tmp_path / "model", etcd=server.url("elastic"),
                           environ=dict(os.environ, SLUICE_ETCD_LEASE_SECS="3"))
        text = training.train()
    applied = training.result["applied"]
    assert training.result["accuracy"] > 0.95 and sum(applied) - 1 <= training.result["steps"] <= sum(applied), text
    assert [applied[0], applied[2]] == [training.sent["worker/0"], training.sent["worker/2"]], text
