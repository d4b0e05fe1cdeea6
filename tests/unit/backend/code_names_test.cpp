#include "backend/code_names.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

// What gdb reads.
extern "C" {
struct jit_code_entry {
  jit_code_entry *next, *previous;
  const char* symbol_file;
  uint64_t symbol_file_bytes;
};
struct jit_descriptor {
  uint32_t version, action;
  jit_code_entry *relevant, *first;
};
extern jit_descriptor __jit_debug_descriptor;
}

namespace ourjit {
namespace {

std::string map_path() { return "/tmp/perf-" + std::to_string(getpid()) + ".map"; }

std::string content(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// True if `check` holds in a process of its own.
template <class F>
bool in_child(const F& check) {
  const pid_t child = fork();
  if (child == 0) _exit(check() ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// The function that a symbol file names.
std::string function_of(const jit_code_entry& e, uint64_t address, uint64_t bytes) {
  Elf64_Ehdr h;
  std::memcpy(&h, e.symbol_file, sizeof h);
  EXPECT_EQ(std::memcmp(h.e_ident, ELFMAG, SELFMAG), 0);
  std::vector<Elf64_Shdr> sections(h.e_shnum);
  std::memcpy(sections.data(), e.symbol_file + h.e_shoff, h.e_shnum * sizeof(Elf64_Shdr));
  Elf64_Sym symbol;
  std::memcpy(&symbol, e.symbol_file + sections[2].sh_offset + sizeof symbol, sizeof symbol);
  EXPECT_EQ(symbol.st_value, address);
  EXPECT_EQ(symbol.st_size, bytes);
  EXPECT_EQ(sections[3].sh_offset + sections[3].sh_size, e.symbol_file_bytes);
  return e.symbol_file + sections[3].sh_offset + symbol.st_name;
}

TEST(CodeNames, GdbSeesCodeWhileItLives) {
  const char code[8] = {};
  const jit_code_entry* const before = __jit_debug_descriptor.first;
  std::optional<GdbName> a(std::in_place, code, 5, "k0_add");
  const GdbName b(code + 5, 3, "k1_mul");
  EXPECT_EQ(__jit_debug_descriptor.version, 1u);
  EXPECT_EQ(__jit_debug_descriptor.action, 1u);
  const jit_code_entry* first = __jit_debug_descriptor.first;
  EXPECT_EQ(__jit_debug_descriptor.relevant, first);
  EXPECT_EQ(function_of(*first, reinterpret_cast<uint64_t>(code + 5), 3), "k1_mul");
  EXPECT_EQ(function_of(*first->next, reinterpret_cast<uint64_t>(code), 5), "k0_add");
  EXPECT_EQ(first->next->previous, first);
  a.reset();
  EXPECT_EQ(__jit_debug_descriptor.action, 2u);
  EXPECT_EQ(__jit_debug_descriptor.first, first);
  EXPECT_EQ(first->next, before);
}

TEST(CodeNames, PerfMapIsOneLineAKernelInAFileOfTheProcess) {
  EXPECT_TRUE(in_child([] {
    const auto* code = reinterpret_cast<const void*>(0x7f00dead0000);
    write_perf_map(code, 0x1a0, "ourjit::k0_add");
    write_perf_map(code, 16, "ourjit::k1_mul");
    struct stat s{};
    const bool alone = stat(map_path().c_str(), &s) == 0 && (s.st_mode & 0777) == 0600;
    const bool own = in_child([&] {
      write_perf_map(code, 1, "ourjit::k2");
      const bool right = content(map_path()) == "7f00dead0000 1 ourjit::k2\n";
      unlink(map_path().c_str());
      return right;
    });
    const std::string text = content(map_path());
    unlink(map_path().c_str());
    return alone && own &&
           text == "7f00dead0000 1a0 ourjit::k0_add\n7f00dead0000 10 ourjit::k1_mul\n";
  }));
}

TEST(CodeNames, PerfMapFollowsNoLinkAndWritesToNoSharedFile) {
  EXPECT_TRUE(in_child([] {
    const std::string victim = map_path() + ".victim";
    std::ofstream(victim) << "mine\n";
    if (symlink(victim.c_str(), map_path().c_str()) != 0) return false;
    write_perf_map(nullptr, 1, "k");
    const bool kept = content(victim) == "mine\n";
    unlink(map_path().c_str());
    std::ofstream(map_path()) << "shared\n";
    chmod(map_path().c_str(), 0666);
    write_perf_map(nullptr, 1, "k");
    const bool left = content(map_path()) == "shared\n";
    unlink(map_path().c_str());
    unlink(victim.c_str());
    return kept && left;
  }));
}

}  // namespace
}  // namespace ourjit
