#include "runtime/session/chrome_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice {
namespace {

using ::testing::HasSubstr;

TEST(ChromeTraceTest, EachNodeIsACompleteEventOfItsDevice) {
  StepStats step;
  step.start_unix_micros = 1000;
  step.devices.resize(1);
  step.devices[0].device = "/device:CPU:0";
  NodeStats n;
  n.name = "a \"b\"";
  n.op = "MatMul";
  n.scheduled_ns = 1000;
  n.start_ns = 2500;
  n.end_ns = 4000;
  n.thread = 9;
  n.inputs = {"x:0", "w:1"};
  n.outputs = {"float [2]"};
  step.devices[0].nodes.push_back(n);
  std::string json = ToChromeTrace({step});
  EXPECT_THAT(json, HasSubstr(R"("name":"MatMul","cat":"op","ph":"X","pid":1,"tid":9,"ts":1002.500,"dur":1.500)"));
  EXPECT_THAT(json, HasSubstr(R"("name":"a \"b\"","op":"MatMul","inputs":"x:0, w:1","outputs":"float [2]")"));
  EXPECT_THAT(json, HasSubstr(R"({"name":"process_name","ph":"M","pid":1,"args":{"name":"/device:CPU:0"}})"));
}

}  // namespace
}  // namespace sluice
