// Bytes a second of checksums, records and checkpoints. The file system is /dev/shm when there is one, so that it is
// our code that is timed.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "core/io/bundle_reader.h"
#include "core/io/bundle_writer.h"
#include "core/io/crc32c.h"
#include "core/io/record_file.h"

namespace sluice {
namespace {

std::string Folder() {
  return absl::StrCat(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", "/sluice_io_benchmark_", getpid());
}

void BM_Crc32c(benchmark::State& state) {
  const std::string bytes(state.range(0), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(Crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32c)->Arg(64)->Arg(1 << 20);

std::vector<Tensor> Tensors(int64_t count, int64_t bytes) {
  std::vector<Tensor> tensors;
  for (int64_t i = 0; i < count; ++i) {
    tensors.push_back(Tensor::Make(DType::kFloat, Shape({bytes / 4})).value());
    std::fill_n(tensors.back().data<float>(), bytes / 4, static_cast<float>(i));
  }
  return tensors;
}

absl::Status Save(const std::vector<Tensor>& tensors) {
  auto writer = BundleWriter::Make(PosixFileSystem(), Folder() + "/model");
  if (!writer.ok()) return writer.status();
  for (size_t i = 0; i < tensors.size(); ++i) {
    absl::Status status = (*writer)->Add(absl::StrCat("layer_", i, "/kernel"), tensors[i]);
    if (!status.ok()) return status;
  }
  return (*writer)->Finish();
}

// Arguments: number of tensors, bytes of each.
void BM_SaveCheckpoint(benchmark::State& state) {
  const std::vector<Tensor> tensors = Tensors(state.range(0), state.range(1));
  for (auto _ : state) {
    if (absl::Status status = Save(tensors); !status.ok()) state.SkipWithError(status.ToString().c_str());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1));
  RemoveTree(PosixFileSystem(), Folder()).IgnoreError();
}
BENCHMARK(BM_SaveCheckpoint)->Args({8, 32 << 20})->Args({10000, 4096})->Unit(benchmark::kMillisecond);

void BM_RestoreCheckpoint(benchmark::State& state) {
  if (absl::Status status = Save(Tensors(state.range(0), state.range(1))); !status.ok()) {
    state.SkipWithError(status.ToString().c_str());
    return;
  }
  for (auto _ : state) {
    auto reader = BundleReader::Open(PosixFileSystem(), Folder() + "/model");
    for (const std::string& name : (*reader)->Names()) {
      if (auto t = (*reader)->Read(name); !t.ok()) state.SkipWithError(t.status().ToString().c_str());
    }
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1));
  RemoveTree(PosixFileSystem(), Folder()).IgnoreError();
}
BENCHMARK(BM_RestoreCheckpoint)->Args({8, 32 << 20})->Args({10000, 4096})->Unit(benchmark::kMillisecond);

// Argument: bytes of a record. 64 MiB of them.
void BM_ReadRecords(benchmark::State& state) {
  const std::string path = Folder() + "/records", record(state.range(0), 'r');
  const int64_t count = (64 << 20) / state.range(0);
  PosixFileSystem()->MakeFolders(Folder()).IgnoreError();
  auto writer = RecordWriter::Open(PosixFileSystem(), path, Compression::kNone).value();
  for (int64_t i = 0; i < count; ++i) writer->Write(record).IgnoreError();
  writer->Close().IgnoreError();
  std::string found;
  for (auto _ : state) {
    auto reader = RecordReader::Open(PosixFileSystem(), path, Compression::kNone).value();
    while (reader->Next(&found).value()) {
    }
  }
  state.SetBytesProcessed(state.iterations() * count * state.range(0));
  state.SetItemsProcessed(state.iterations() * count);
  RemoveTree(PosixFileSystem(), Folder()).IgnoreError();
}
BENCHMARK(BM_ReadRecords)->Arg(100)->Arg(100 << 10)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluice
