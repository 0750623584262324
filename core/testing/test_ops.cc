#include "core/testing/test_ops.h"

#include <atomic>
#include <cstring>
#include <map>

#include "absl/synchronization/mutex.h"
#include "core/base/status.h"
#include "core/op/shape_context.h"

namespace sluice {
namespace {

// --- Kernels on floats ---

class AddKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    if (c.input(0).shape() != c.input(1).shape()) {
      return InvalidArgument("a is ", c.input(0).shape().ToString(), ", b is ", c.input(1).shape().ToString());
    }
    ASSIGN_OR_RETURN(Tensor * y, c.ForwardOrAllocate(0, 0, c.input(0).shape()));
    const float* a = c.input(0).data<float>();
    const float* b = c.input(1).data<float>();
    float* out = y->data<float>();
    for (int64_t i = 0; i < y->num_elements(); ++i) out[i] = a[i] + b[i];
    return absl::OkStatus();
  }
};

class MixKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, c.input(0).shape()));
    std::memset(y->raw_data(), 0xcd, y->num_bytes());
    for (int64_t e = 0; e < y->num_elements(); ++e) {
      float sum = 1;
      for (int i = 0; i < c.num_inputs(); ++i) sum += c.input(i).data<float>()[e % c.input(i).num_elements()];
      y->data<float>()[e] = sum;
    }
    return absl::OkStatus();
  }
};

class ReshapeKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(PartialShape shape, p.Attr<PartialShape>("shape"));
    shape_ = shape.ToShape();
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    c.SetOutput(0, c.input(0).WithShape(shape_));
    return absl::OkStatus();
  }

 private:
  Shape shape_;
};

class UnknownKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Tensor * y, c.ForwardOrAllocate(0, 0, c.input(0).shape()));
    for (int64_t i = 0; i < y->num_elements(); ++i) y->data<float>()[i] = c.input(0).data<float>()[i] + 1;
    return absl::OkStatus();
  }
};

class FailKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(message_, p.Attr<std::string>("message"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override { return InvalidArgument(message_); }

 private:
  std::string message_;
};

class NullKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return absl::OkStatus(); }
};

std::atomic<int> count_runs{0};

class CountKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    count_runs.fetch_add(1);
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, c.input(0).shape()));
    std::memcpy(y->raw_data(), c.input(0).raw_data(), y->num_bytes());
    return absl::OkStatus();
  }
};

// --- Waiting ---

struct Blocks {
  absl::Mutex mu;
  bool released ABSL_GUARDED_BY(mu) = false;
  int64_t next ABSL_GUARDED_BY(mu) = 0;
  std::map<int64_t, std::function<void(absl::Status)>> waiting ABSL_GUARDED_BY(mu);
};

Blocks& AllBlocks() {
  static Blocks* blocks = new Blocks;
  return *blocks;
}

class BlockKernel final : public AsyncKernel {
 public:
  void Start(KernelContext& c, Done done) const override {
    Blocks& blocks = AllBlocks();
    c.SetOutput(0, c.input(0));
    int64_t id = 0;
    {
      absl::MutexLock lock(&blocks.mu);
      if (!blocks.released) {
        id = ++blocks.next;
        blocks.waiting[id] = std::move(done);
      }
    }
    if (id == 0) return done(absl::OkStatus());
    CancellationToken* token = c.cancellation();
    if (token->Register([id, token] { Finish(id, token->status()); }) == 0) Finish(id, token->status());
  }

  static void Finish(int64_t id, const absl::Status& status) {
    Blocks& blocks = AllBlocks();
    std::function<void(absl::Status)> done;
    {
      absl::MutexLock lock(&blocks.mu);
      auto it = blocks.waiting.find(id);
      if (it == blocks.waiting.end()) return;
      done = std::move(it->second);
      blocks.waiting.erase(it);
    }
    done(status);
  }
};

template <typename K>
void Add(KernelRegistry& kernels, absl::string_view op, absl::string_view device_type) {
  kernels.Add(op, device_type, KernelDef().Make<K>());
}

}  // namespace

void DefineTestOps(OpRegistry& ops) {
  ops.Define("TestAdd", "a + b")
      .Input("a", "float")
      .Input("b", "float")
      .Output("y", "float")
      .Traits(kElementwise)
      .Shape(MergeInputs());
  ops.Define("TestMix", "1 + sum")
      .Input("inputs", "N * float")
      .Attr("N: int >= 1")
      .Output("y", "float")
      .Shape([](ShapeContext& c) {
        c.SetOutput(0, c.input(0));
        return absl::OkStatus();
      });
  ops.Define("TestReshape", "x")
      .Input("x", "float")
      .Attr("shape: shape")
      .Output("y", "float")
      .Traits(kMayAlias)
      .Shape(FromAttr("shape"));
  ops.Define("TestUnknown", "x + 1").Input("x", "float").Output("y", "float").Shape(UnknownShape());
  ops.Define("TestFail", "")
      .Attr("message: string = 'as asked'")
      .Output("y", "float")
      .Traits(kStateful)
      .Shape(ScalarShape());
  ops.Define("TestBlock", "x")
      .Input("x", "float")
      .Output("y", "float")
      .Traits(kBlocking | kStateful | kMayAlias)
      .Shape(SameAs("x"));
  ops.Define("TestNull", "").Traits(kStateful | kSideEffect).Shape(NoOutputs());
  ops.Define("TestCount", "x").Input("x", "float").Output("y", "float").Traits(kStateful).Shape(SameAs("x"));
}

void AddTestKernels(KernelRegistry& kernels, absl::string_view device_type) {
  Add<AddKernel>(kernels, "TestAdd", device_type);
  Add<MixKernel>(kernels, "TestMix", device_type);
  Add<ReshapeKernel>(kernels, "TestReshape", device_type);
  Add<UnknownKernel>(kernels, "TestUnknown", device_type);
  Add<FailKernel>(kernels, "TestFail", device_type);
  Add<BlockKernel>(kernels, "TestBlock", device_type);
  Add<NullKernel>(kernels, "TestNull", device_type);
  Add<CountKernel>(kernels, "TestCount", device_type);
}

void ReleaseTestBlocks() {
  Blocks& blocks = AllBlocks();
  std::map<int64_t, std::function<void(absl::Status)>> waiting;
  {
    absl::MutexLock lock(&blocks.mu);
    blocks.released = true;
    waiting.swap(blocks.waiting);
  }
  for (auto& [id, done] : waiting) done(absl::OkStatus());
}

void HoldTestBlocks() {
  absl::MutexLock lock(&AllBlocks().mu);
  AllBlocks().released = false;
}

int WaitingTestBlocks() {
  absl::MutexLock lock(&AllBlocks().mu);
  return static_cast<int>(AllBlocks().waiting.size());
}

int TestCountRuns() { return count_runs.load(); }

}  // namespace sluice
