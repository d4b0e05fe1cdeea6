// Runs text tests: `ourjit_text <files or folders>`. A file holds cases, apart by lines `# ---`. A
// case:
//
//   # command: pass cse
//   graph @g(...) ... {
//   # expect:
//   # graph @g(...) ... {
//
// Everything between the two marks is given to the command; what it answers must be the lines below
// the second one. With OURJIT_BLESS=1 the answers are written into the files instead. With
// OURJIT_ANY_ANSWER=1 every answer will do: C++ compilers differ in the order in which they
// evaluate operands, and with it in the order of nodes that rules make.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "commands.h"

namespace ourjit::text_tests {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

constexpr std::string_view kCommand = "# command: ", kExpect = "# expect:", kNextCase = "# ---";

struct Case {
  int line = 0;  // of its command
  Lines before;  // lines above the command
  std::string command;
  Lines body, expected;
};

Lines split_lines(std::string_view text) {
  Lines out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return out;
}

std::vector<Case> read_cases(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) OURJIT_RAISE(UserError) << path.string() << " cannot be read";
  std::vector<Case> cases(1);
  bool expected = false;
  int number = 0;
  for (const std::string& line : split_lines(text.str())) {
    ++number;
    Case& c = cases.back();
    if (line == kNextCase) {
      cases.emplace_back();
      expected = false;
    } else if (c.command.empty()) {
      if (line.starts_with(kCommand)) {
        c.command = line.substr(kCommand.size());
        c.line = number;
      } else {
        c.before.push_back(line);
      }
    } else if (line == kExpect) {
      expected = true;
    } else if (expected) {
      c.expected.push_back(line == "#" ? "" : line.starts_with("# ") ? line.substr(2) : line);
    } else {
      c.body.push_back(line);
    }
  }
  for (const Case& c : cases)
    if (c.command.empty())
      OURJIT_RAISE(UserError) << path.string() << ": a case has no line '" << kCommand << "...'";
  return cases;
}

void write_cases(const fs::path& path, const std::vector<Case>& cases) {
  std::ofstream out(path, std::ios::binary);
  for (const Case& c : cases) {
    if (&c != &cases.front()) out << kNextCase << "\n";
    for (const std::string& l : c.before) out << l << "\n";
    out << kCommand << c.command << "\n";
    for (const std::string& l : c.body) out << l << "\n";
    out << kExpect << "\n";
    for (const std::string& l : c.expected) out << (l.empty() ? "#" : "# " + l) << "\n";
  }
}

/// Lines of both with - before what is missing and + before what is new, by longest common
/// subsequence.
std::string diff(const Lines& want, const Lines& got) {
  const size_t n = want.size(), m = got.size();
  std::vector<std::vector<int>> common(n + 1, std::vector<int>(m + 1, 0));
  for (size_t i = n; i-- > 0;)
    for (size_t j = m; j-- > 0;)
      common[i][j] = want[i] == got[j] ? common[i + 1][j + 1] + 1
                                       : std::max(common[i + 1][j], common[i][j + 1]);
  std::string out;
  size_t i = 0, j = 0;
  while (i < n || j < m) {
    if (i < n && j < m && want[i] == got[j]) {
      out += "    " + want[i] + "\n";
      ++i, ++j;
    } else if (i < n && (j == m || common[i + 1][j] >= common[i][j + 1])) {
      out += "  - " + want[i++] + "\n";
    } else {
      out += "  + " + got[j++] + "\n";
    }
  }
  return out;
}

struct Counts {
  int run = 0, skipped = 0, failed = 0, blessed = 0;
};

bool is_set(const char* variable) {
  const char* flag = std::getenv(variable);
  return flag && std::string_view(flag) == "1";
}

void run_file(const fs::path& path, bool bless, Counts& counts) {
  std::vector<Case> cases = read_cases(path);
  bool changed = false;
  for (Case& c : cases) {
    std::string body;
    for (const std::string& l : c.body) body += l + "\n";
    const std::optional<std::string> answer = run_command(c.command, body);
    if (!answer) {
      ++counts.skipped;
      continue;
    }
    const Lines got = split_lines(*answer);
    ++counts.run;
    if (got == c.expected || is_set("OURJIT_ANY_ANSWER")) continue;
    if (bless) {
      c.expected = got;
      changed = true;
      ++counts.blessed;
      continue;
    }
    ++counts.failed;
    std::cout << path.string() << ":" << c.line << ": " << c.command << "\n"
              << diff(c.expected, got);
  }
  if (changed) write_cases(path, cases);
}

int run_all(const std::vector<std::string>& arguments) {
  std::vector<fs::path> files;
  for (const std::string& a : arguments) {
    if (!fs::is_directory(a)) {
      files.emplace_back(a);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(a))
      if (entry.path().extension() == ".ojt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  const bool bless = is_set("OURJIT_BLESS");
  Counts counts;
  for (const fs::path& file : files) {
    try {
      run_file(file, bless, counts);
    } catch (const std::exception& e) {
      ++counts.failed;
      std::cout << file.string() << ": " << e.what() << "\n";
    }
  }
  std::cout << counts.run << " cases in " << files.size() << " files, " << counts.failed
            << " failed, " << counts.blessed << " blessed";
  if (counts.skipped) std::cout << ", " << counts.skipped << " skipped: this build lacks LLVM";
  std::cout << "\n";
  return counts.failed > 0 || counts.run == 0 ? 1 : 0;
}

}  // namespace
}  // namespace ourjit::text_tests

int main(int argc, char** argv) { return ourjit::text_tests::run_all({argv + 1, argv + argc}); }
