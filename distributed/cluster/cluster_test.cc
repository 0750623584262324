#include "distributed/cluster/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/proto/cluster.pb.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

proto::ClusterDef Def(const std::string& job, const std::string& address) {
  proto::ClusterDef def;
  auto* j = def.add_job();
  j->set_name(job);
  (*j->mutable_tasks())[0] = address;
  return def;
}

TEST(ClusterTest, TasksHaveFullNames) {
  proto::ClusterDef def = Def("ps", "10.0.0.1:2222");
  auto* w = def.add_job();
  w->set_name("worker");
  (*w->mutable_tasks())[0] = "a:1";
  (*w->mutable_tasks())[1] = "b:1";
  auto cluster = Cluster::FromProto(def);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_THAT(cluster->tasks(),
              ElementsAre("/job:ps/replica:0/task:0", "/job:worker/replica:0/task:0", "/job:worker/replica:0/task:1"));
  EXPECT_EQ(*cluster->Find("/job:worker/replica:0/task:1"), "b:1");
  EXPECT_THAT(std::string(cluster->Find("/job:worker/replica:0/task:2").status().message()),
              HasSubstr("it has /job:ps/replica:0/task:0, "));
}

TEST(ClusterTest, MistakesAreNamed) {
  const struct {
    std::string job, address, found;
  } cases[] = {
      {"", "a:1", "a job ''"},         {"1ps", "a:1", "a job '1ps'"},     {"p-s", "a:1", "a job 'p-s'"},
      {"ps", "a", "wanted host:port"}, {"ps", ":1", "wanted host:port"},  {"ps", "a:x", "'x' is no port"},
      {"ps", "a:70000", "is no port"}, {"ps", "a:-1", "'-1' is no port"},
  };
  for (const auto& c : cases) {
    auto cluster = Cluster::FromProto(Def(c.job, c.address));
    ASSERT_FALSE(cluster.ok()) << c.job << " " << c.address;
    EXPECT_THAT(std::string(cluster.status().message()), HasSubstr(c.found));
  }
  proto::ClusterDef twice = Def("ps", "a:1");
  auto* w = twice.add_job();
  w->set_name("worker");
  (*w->mutable_tasks())[0] = "a:1";
  EXPECT_THAT(std::string(Cluster::FromProto(twice).status().message()), HasSubstr("given to both"));
}

TEST(ClusterTest, TaskOfADevice) {
  EXPECT_EQ(TaskOfDevice("/job:ps/replica:0/task:3/device:CPU:0"), "/job:ps/replica:0/task:3");
  EXPECT_EQ(TaskOfDevice("/job:ps/replica:0/task:3"), "/job:ps/replica:0/task:3");
  EXPECT_EQ(TaskOfDevice("/device:CPU:0"), "");
}

}  // namespace
}  // namespace sluice
