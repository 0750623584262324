// Instructions of warm steps, counted by callgrind, against the figures of instructions.txt: a step that has become
// longer fails by name. A busy machine changes nothing.
//
//   ./dev instructions            found and allowed, of every step
//   ./dev instructions REASON     writes what was found to instructions.txt, with the reason beside what changed
//
// The program runs itself under valgrind; that process makes and warms each step, and counts the instructions of a few
// more. Vector instructions are held at AVX2, in our kernels and in the C library, so that machines agree.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/benchmarks/steps.h"

namespace {

constexpr char kAllowedFile[] = "tests/benchmarks/instructions.txt";
constexpr int kDeadlineSeconds = 240;

struct Watched {
  const char* name;
  int steps;  // that are counted
  bool has_kernels;
};

// B01, B02, B03, B04.
constexpr Watched kWatched[] = {
    {"null_chain", 5, false},       {"null_layers", 5, false}, {"null_layers_dataflow", 5, false},
    {"null_independent", 5, false}, {"adds", 20, true},        {"feeds_1", 100, false},
    {"feeds_10", 100, false},       {"feeds_100", 50, false},  {"small_mlp", 20, true},
};

// --- Under valgrind ---

int CountAll() {
  for (const Watched& w : kWatched) {
    const std::unique_ptr<sluice::MeasuredStep> step = sluice::MeasuredStep::Make(w.name, 1);
    CALLGRIND_START_INSTRUMENTATION;
    step->Run();
    CALLGRIND_ZERO_STATS;
    for (int i = 0; i < w.steps; ++i) step->Run();
    CALLGRIND_DUMP_STATS_AT(w.name);
    CALLGRIND_STOP_INSTRUMENTATION;
  }
  return 0;
}

// --- Outside ---

struct Allowed {
  double tolerance = 0.03;
  std::map<std::string, int64_t> counts;
  std::map<std::string, std::string> reasons;
};

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// "tolerance 0.03" and "NAME COUNT  # reason" lines; false for anything else.
bool ParseAllowed(const std::string& text, Allowed* allowed) {
  std::stringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t hash = line.find('#');
    std::string reason = hash == std::string::npos ? "" : line.substr(hash + 1);
    if (!reason.empty() && reason[0] == ' ') reason.erase(0, 1);
    std::stringstream fields(line.substr(0, hash));
    std::string name, rest;
    double value;
    if (!(fields >> name)) continue;
    if (!(fields >> value) || value <= 0 || fields >> rest) return false;
    if (name == "tolerance") {
      allowed->tolerance = value;
    } else {
      allowed->counts[name] = static_cast<int64_t>(value);
      allowed->reasons[name] = reason;
    }
  }
  return true;
}

std::string AllowedText(const Allowed& allowed) {
  std::stringstream out;
  out << "# Instructions of a warm step, by callgrind (instructions_test.cc). More than the tolerance above fails the "
         "test;\n"
         "# `./dev instructions REASON` writes this file.\n"
      << "tolerance " << allowed.tolerance << "\n";
  for (const Watched& w : kWatched) {
    const auto found = allowed.counts.find(w.name);
    if (found == allowed.counts.end()) continue;
    const std::string& reason = allowed.reasons.at(w.name);
    out << w.name << " " << found->second << (reason.empty() ? "" : "  # " + reason) << "\n";
  }
  return out.str();
}

// Instructions of a step by name, from the parts that callgrind wrote.
std::map<std::string, int64_t> ParseParts(const std::vector<std::string>& parts) {
  std::map<std::string, int64_t> counts;
  for (const std::string& part : parts) {
    const size_t trigger = part.find("Client Request: "), total = part.find("\nsummary: ");
    if (trigger == std::string::npos || total == std::string::npos) continue;
    const std::string name = part.substr(trigger + 16, part.find('\n', trigger) - trigger - 16);
    const int64_t all = std::strtoll(part.c_str() + total + 10, nullptr, 10);
    for (const Watched& w : kWatched) {
      if (name == w.name) counts[name] = (all + w.steps / 2) / w.steps;
    }
  }
  return counts;
}

std::string ThisProgram() {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : "";
}

// Empty when valgrind cannot be had, after saying why in `error`.
std::map<std::string, int64_t> Count(std::string* error) {
  const char* given = std::getenv("TEST_TMPDIR");
  char folder[4096];
  std::snprintf(folder, sizeof(folder), "%s/instructions.XXXXXX", given == nullptr ? "/tmp" : given);
  if (mkdtemp(folder) == nullptr) {
    *error = std::string("cannot make a folder for callgrind's files: ") + folder;
    return {};
  }
  const std::string out = std::string(folder) + "/out", log = std::string(folder) + "/log";
  const std::string command =
      "SLUICE_ISA=avx2 DNNL_MAX_CPU_ISA=AVX2 "
      "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-ERMS,-FSRM timeout " +
      std::to_string(kDeadlineSeconds) + " valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file='" + out +
      "' --log-file='" + log + "' '" + ThisProgram() + "' --count";
  const int status = std::system(command.c_str());
  std::vector<std::string> parts;
  for (int i = 1; i <= 32; ++i) {
    const std::string name = out + "." + std::to_string(i);
    parts.push_back(ReadFile(name));
    unlink(name.c_str());
  }
  const std::map<std::string, int64_t> counts = ParseParts(parts);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || counts.empty()) {
    *error = "'" + command + "' ended with status " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1) +
             (WIFEXITED(status) && WEXITSTATUS(status) == 127 ? " (is valgrind installed? ./dev setup)" : "") + "\n" +
             ReadFile(log);
  }
  for (const std::string& file : {out, log}) unlink(file.c_str());
  rmdir(folder);
  return error->empty() ? counts : std::map<std::string, int64_t>();
}

const std::map<std::string, int64_t>& Counts(std::string* error) {
  static std::string* const failed = new std::string;
  static const auto* const counts = new std::map<std::string, int64_t>(Count(failed));
  *error = *failed;
  return *counts;
}

Allowed ReadAllowed() {
  Allowed allowed;
  EXPECT_TRUE(ParseAllowed(ReadFile(kAllowedFile), &allowed))
      << kAllowedFile << " has a line that is no 'NAME COUNT  # reason'";
  return allowed;
}

class InstructionsTest : public testing::TestWithParam<Watched> {};

TEST_P(InstructionsTest, AStepTakesNoMoreThanIsAllowed) {
  if (GetParam().has_kernels && !__builtin_cpu_supports("avx2")) GTEST_SKIP() << "the figures are those of AVX2";
  std::string error;
  const auto& counts = Counts(&error);
  ASSERT_EQ(error, "");
  const Allowed allowed = ReadAllowed();
  const std::string name = GetParam().name;
  ASSERT_EQ(counts.count(name), 1u) << "callgrind counted nothing";
  ASSERT_EQ(allowed.counts.count(name), 1u) << kAllowedFile << " has no figure; ./dev instructions REASON writes it";
  const int64_t found = counts.at(name), limit = allowed.counts.at(name);
  RecordProperty("instructions", std::to_string(found));
  std::printf("%-22s %9lld instructions, allowed %9lld (%+.1f %%)\n", name.c_str(), static_cast<long long>(found),
              static_cast<long long>(limit), 100.0 * static_cast<double>(found - limit) / static_cast<double>(limit));
  EXPECT_LE(static_cast<double>(found), static_cast<double>(limit) * (1 + allowed.tolerance))
      << "a step of " << name << " takes " << found << " instructions, allowed are " << limit << " and "
      << 100 * allowed.tolerance << " % more. Where it is meant: ./dev instructions REASON";
}

INSTANTIATE_TEST_SUITE_P(Steps, InstructionsTest, testing::ValuesIn(kWatched),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(InstructionsFileTest, EveryFigureIsOfAStep) {
  const Allowed allowed = ReadAllowed();
  std::map<std::string, int64_t> left = allowed.counts;
  for (const Watched& w : kWatched) left.erase(w.name);
  EXPECT_TRUE(left.empty()) << kAllowedFile << " has a figure for '" << left.begin()->first << "', which is no step";
  EXPECT_EQ(AllowedText(allowed), ReadFile(kAllowedFile)) << "it is not as ./dev instructions would write it";
}

TEST(InstructionsFileTest, ALineThatIsNoFigureIsRefused) {
  Allowed allowed;
  EXPECT_TRUE(ParseAllowed("# text\n\ntolerance 0.05\nadds 12  # a reason\n", &allowed));
  EXPECT_EQ(allowed.tolerance, 0.05);
  EXPECT_EQ(allowed.counts["adds"], 12);
  EXPECT_EQ(allowed.reasons["adds"], "a reason");
  for (const char* bad : {"adds", "adds many", "adds -1", "adds 1 2"}) EXPECT_FALSE(ParseAllowed(bad, &allowed)) << bad;
}

TEST(CallgrindTest, PartsAreReadByName) {
  const std::string part = "version: 1\ndesc: Trigger: Client Request: feeds_1\n\nevents: Ir\nsummary: 1050\n";
  const auto counts = ParseParts({"", part, "desc: Trigger: Program termination\nsummary: 7\n"});
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts.at("feeds_1"), 11);
}

// Prints found and allowed; with a reason, writes what was found.
int Report(const std::string& reason) {
  std::string error;
  const auto& counts = Counts(&error);
  if (!error.empty()) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  Allowed allowed;
  if (!ParseAllowed(ReadFile(kAllowedFile), &allowed)) {
    std::fprintf(stderr, "%s has a line that is no 'NAME COUNT  # reason'\n", kAllowedFile);
    return 1;
  }
  for (const Watched& w : kWatched) {
    const int64_t found = counts.at(w.name), before = allowed.counts[w.name];
    std::printf("%-22s %9lld found, %9lld allowed\n", w.name, static_cast<long long>(found),
                static_cast<long long>(before));
    // A change below a thousandth is noise, and no reason to touch the line.
    if (reason.empty() || std::llabs(found - before) * 1000 <= before) continue;
    allowed.counts[w.name] = found;
    allowed.reasons[w.name] = reason;
  }
  if (reason.empty()) return 0;
  std::ofstream out(kAllowedFile);
  out << AllowedText(allowed);
  out.close();
  if (!out) std::fprintf(stderr, "%s cannot be written\n", kAllowedFile);
  return out ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "--count") return CountAll();
  if (first == "--report") return Report(argc > 2 ? argv[2] : "");
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
