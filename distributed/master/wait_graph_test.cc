#include "distributed/master/wait_graph.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

std::string Key(const std::string& from, const std::string& edge, const std::string& to) {
  return absl::StrCat("/job:", from, "/device:CPU:0;0000000000000001;/job:", to, "/device:CPU:0;", edge, ";0:0");
}

TEST(WaitGraphTest, SaysWhoWaitsForWhat) {
  TaskWaits ps{"/job:ps/replica:0/task:0", "", true, {}};
  ps.step.add_waiting_node("QueueDequeueV2 'd' (train.py:12)");
  ps.step.add_waiting_for(Key("ps/replica:0/task:0", "edge_1_d", "worker/replica:0/task:0"));  // asked by the worker
  TaskWaits worker{"/job:worker/replica:0/task:0", "", true, {}};
  worker.step.add_waiting_for(Key("ps/replica:0/task:0", "edge_1_d", "worker/replica:0/task:0"));
  worker.step.add_waiting_node("_Recv 'd/_1' from /job:ps/replica:0/task:0/device:CPU:0");
  worker.step.set_running_node("MatMul 'm'");
  EXPECT_EQ(DescribeWaits({ps,
                           worker,
                           {"/job:worker/replica:0/task:1", "connection refused", false, {}},
                           {"/job:worker/replica:0/task:2", "", false, {}},
                           {"/job:worker/replica:0/task:3", "", true, {}}}),
            "/job:ps/replica:0/task:0 waits in QueueDequeueV2 'd' (train.py:12)\n"
            "/job:worker/replica:0/task:0 waits for edge_1_d from /job:ps/replica:0/task:0 (to its device:CPU:0)\n"
            "/job:worker/replica:0/task:0 runs MatMul 'm'\n"
            "/job:worker/replica:0/task:1 does not answer: connection refused\n"
            "/job:worker/replica:0/task:2 has nothing to do in it any more, or has not heard of it\n"
            "/job:worker/replica:0/task:3 waits for nothing of another task");
}

TEST(WaitGraphTest, NamesACircle) {
  std::vector<TaskWaits> tasks;
  const char* names[] = {"a", "b", "c"};
  for (int i = 0; i < 3; ++i) {
    TaskWaits t{absl::StrCat("/job:", names[i], "/replica:0/task:0"), "", true, {}};
    t.step.add_waiting_for(
        Key(absl::StrCat(names[(i + 1) % 3], "/replica:0/task:0"), "e", absl::StrCat(names[i], "/replica:0/task:0")));
    tasks.push_back(t);
  }
  const std::string text = DescribeWaits(tasks);
  EXPECT_EQ(text.substr(text.rfind('\n') + 1),
            "in a circle: /job:a/replica:0/task:0 -> /job:b/replica:0/task:0 -> /job:c/replica:0/task:0 -> "
            "/job:a/replica:0/task:0");
}

TEST(WaitGraphTest, LongListsAreCut) {
  TaskWaits t{"/job:a/replica:0/task:0", "", true, {}};
  for (int i = 0; i < 100; ++i)
    t.step.add_waiting_for(Key("b/replica:0/task:0", absl::StrCat("e", i), "a/replica:0/task:0"));
  EXPECT_LT(DescribeWaits({t}).size(), 1000);
}

}  // namespace
}  // namespace sluice
