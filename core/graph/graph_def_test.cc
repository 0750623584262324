#include "core/graph/graph_def.h"

#include <random>

#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "core/proto/graph.pb.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "ops/all/test_ops.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

proto::GraphDef Def(const std::string& text) {
  proto::GraphDef def;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &def));
  return def;
}

std::string ImportError(const std::string& text) {
  Graph g(&TestOps());
  absl::Status s = ImportGraphDef(Def(text), {}, &g).status();
  EXPECT_EQ(g.num_nodes(), 0) << "a failed import leaves nothing behind";
  return std::string(s.message());
}

TEST(GraphDefTest, RoundTripKeepsNodesAttributesDevicesAndLines) {
  Graph g(&TestOps());
  ASSERT_EQ(
      ParseGraphText(
          "x = Placeholder(dtype=float, shape=[?,4]); w = Const(value=float[4,2]{1,2,3,4,5,6,7,8}) @/device:CPU:1\n"
          "init = NoOp(); y = MatMul(x, w, ^init); axis = Const(value=int32[]{1}); s = Split(axis, y, num_split=2)\n"
          "z = AddN(s, s:1)",
          &g),
      absl::OkStatus());
  ASSERT_EQ(
      g.AddNode({"Neg", "n", {{g.Find("z"), 0}}, {}, {}, "", {g.Intern("model.py"), 12, g.Intern("main")}}).status(),
      absl::OkStatus());
  proto::GraphDef def;
  ExportGraphDef(g, {}, &def);
  Graph back(&TestOps());
  ASSERT_EQ(ImportGraphDef(def, {}, &back).status(), absl::OkStatus());
  EXPECT_EQ(GraphToText(back), GraphToText(g));
  EXPECT_EQ(back.Find("n")->info().Describe(), "Neg 'n' (model.py:12)");
  EXPECT_EQ(VerifyGraph(back, true), absl::OkStatus());
}

TEST(GraphDefTest, NodesMayComeInAnyOrder) {
  Graph g(&TestOps());
  auto r = ImportGraphDef(Def(R"(node { name: "b" op: "Neg" input: "a" attr { key: "T" value { type: DT_FLOAT } } }
                                 node { name: "a" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } })"),
                          {}, &g);
  ASSERT_EQ(r.status(), absl::OkStatus());
  EXPECT_EQ(r->nodes[0]->name(), "b");
}

TEST(GraphDefTest, PrefixInputMapAndReturns) {
  Graph g(&TestOps());
  ASSERT_EQ(ParseGraphText("mine = Const(value=float[2]{1,2})", &g), absl::OkStatus());
  ImportOptions options;
  options.prefix = "import";
  options.input_map["a:0"] = {g.Find("mine"), 0};
  options.return_outputs = {"b:0", "a:0"};
  auto r = ImportGraphDef(Def(R"(node { name: "a" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
                                 node { name: "b" op: "Neg" input: "a" attr { key: "T" value { type: DT_FLOAT } } })"),
                          options, &g);
  ASSERT_EQ(r.status(), absl::OkStatus());
  EXPECT_EQ(g.Find("import/b")->input(0).node->name(), "mine");
  EXPECT_EQ(r->return_outputs[0].node->name(), "import/b");
  EXPECT_EQ(r->return_outputs[1].node->name(), "mine");
}

TEST(GraphDefTest, BlankAttributesOfNewerProducersAreDropped) {
  Graph g(&TestOps());
  ASSERT_EQ(ImportGraphDef(Def(R"(node { name: "a" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
                                         attr { key: "added_later" value { list {} } } })"),
                           {}, &g)
                .status(),
            absl::OkStatus());
  EXPECT_EQ(g.Find("a")->attrs().Find("added_later"), nullptr);
}

TEST(GraphDefTest, MalformedGraphsAreRefusedByName) {
  EXPECT_THAT(ImportError(R"(node { name: "a" op: "NoSuchOp" })"), HasSubstr("NoSuchOp"));
  EXPECT_THAT(ImportError(R"(node { name: "a" op: "NoOp" } node { name: "a" op: "NoOp" })"), HasSubstr("twice"));
  EXPECT_THAT(ImportError(R"(node { name: "b" op: "Neg" input: "a" attr { key: "T" value { type: DT_FLOAT } } })"),
              HasSubstr("'a' is not in"));
  EXPECT_THAT(ImportError(R"(node { name: "b" op: "NoOp" input: "^b" })"), HasSubstr("cycle"));
  EXPECT_THAT(ImportError(R"(node { name: " bad" op: "NoOp" })"), HasSubstr("malformed"));
  EXPECT_THAT(ImportError(R"(node { name: "b" op: "Placeholder" attr { key: "dtype" value { i: 3 } } })"),
              HasSubstr("dtype"));
  EXPECT_THAT(ImportError(R"(node { name: "b" op: "Placeholder" attr { key: "bogus" value { i: 3 } } })"),
              HasSubstr("bogus"));
  EXPECT_THAT(ImportError(R"(node { name: "a" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
                             node { name: "b" op: "Neg" input: "a:7" attr { key: "T" value { type: DT_FLOAT } } })"),
              HasSubstr("no output 7"));
  EXPECT_THAT(ImportError(R"(versions { min_consumer: 99999 })"), HasSubstr("99999"));
  EXPECT_THAT(
      ImportError(R"(node { name: "c" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "value"
      value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: -4 } } } } } })"),
      HasSubstr("'c'"));
  EXPECT_THAT(
      ImportError(R"(node { name: "c" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "value"
      value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 4 } } tensor_content: "abc" } } } })"),
      HasSubstr("'c'"));
}

TEST(GraphDefTest, LoopsOfNextIterationWaitForTheirOpsButNeverCrash) {
  EXPECT_THAT(
      ImportError(
          R"(node { name: "m" op: "Merge" input: "n" input: "n" } node { name: "n" op: "NextIteration" input: "m" })"),
      HasSubstr("Merge"));
}

TEST(GraphDefTest, FunctionsRoundTrip) {
  Graph g(&TestOps());
  const char* text = R"(
    library { function {
      signature { name: "twice" input_arg { name: "x" type: DT_FLOAT } output_arg { name: "y" type: DT_FLOAT } }
      node_def { name: "two" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
                 attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape {} float_val: 2 } } } }
      node_def { name: "product" op: "Mul" input: "x" input: "two:output:0" attr { key: "T" value { type: DT_FLOAT } } }
      ret { key: "y" value: "product:z:0" } } }
    node { name: "a" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
    node { name: "call" op: "PartitionedCall" input: "a" attr { key: "f" value { func { name: "twice" } } }
           attr { key: "Tin" value { list { type: DT_FLOAT } } } attr { key: "Tout" value { list { type: DT_FLOAT } } } })";
  ASSERT_EQ(ImportGraphDef(Def(text), {}, &g).status(), absl::OkStatus());
  EXPECT_EQ(VerifyGraph(g), absl::OkStatus());
  const Function* f = g.functions().Find("twice");
  ASSERT_NE(f, nullptr);
  EXPECT_THAT(GraphToText(*f->body), HasSubstr("product = Mul(x, two)"));
  proto::GraphDef def;
  ExportGraphDef(g, {}, &def);
  Graph back(&TestOps());
  ASSERT_EQ(ImportGraphDef(def, {}, &back).status(), absl::OkStatus());
  EXPECT_EQ(GraphToText(*back.functions().Find("twice")->body), GraphToText(*f->body));
}

// Bytes changed, cut and repeated: whatever still parses must import or be refused.
TEST(GraphDefTest, RandomDamageNeverCrashes) {
  Graph g(&TestOps());
  ASSERT_EQ(ParseGraphText("x = Placeholder(dtype=float, shape=[?,4]); w = Const(value=float[4,2]{1,2,3,4,5,6,7,8})\n"
                           "y = MatMul(x, w); a = Const(value=int32[2]{1,-1}); r = Reshape(y, a); z = AddN(r, r)",
                           &g),
            absl::OkStatus());
  proto::GraphDef def;
  ExportGraphDef(g, {.add_shapes = true}, &def);
  std::string bytes = def.SerializeAsString();
  std::mt19937 random(1);
  int parsed = 0, imported = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string damaged = bytes;
    for (int k = 1 + static_cast<int>(random() % 4); k > 0; --k) {
      size_t at = random() % damaged.size();
      switch (random() % 3) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, 1 + random() % 3);
          break;
        default:
          damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 8));
      }
      if (damaged.empty()) damaged = "x";
    }
    proto::GraphDef d;
    if (!d.ParseFromString(damaged)) continue;
    ++parsed;
    Graph target(&TestOps());
    if (ImportGraphDef(d, {}, &target).ok()) {
      ++imported;
      EXPECT_EQ(VerifyGraph(target), absl::OkStatus());
    }
  }
  EXPECT_GT(parsed, 100);
  EXPECT_GT(imported, 10);
}

}  // namespace
}  // namespace sluice
