#include "backend/code_names.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string_view>
#include <vector>

// gdb's JIT interface: it sets a breakpoint into the function, and reads the list when that is
// called. Names, types and the version are gdb's.
extern "C" {

struct jit_code_entry {
  jit_code_entry *next, *previous;
  const char* symbol_file;
  uint64_t symbol_file_bytes;
};

struct jit_descriptor {
  uint32_t version;
  uint32_t action;  // 1: `relevant` is new, 2: it goes
  jit_code_entry *relevant, *first;
};

__attribute__((visibility("default"))) jit_descriptor __jit_debug_descriptor = {1, 0, nullptr,
                                                                                nullptr};

__attribute__((visibility("default"), noinline)) void __jit_debug_register_code() {
  __asm__ volatile("" ::: "memory");  // or calls would be optimized away
}

}  // extern "C"

namespace ourjit {

namespace {

std::mutex& descriptor_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// An ELF file that says of a function where it lies and how it is called, and nothing else.
struct SymbolFile {
  static constexpr uint16_t kSections = 4;
  Elf64_Ehdr header{};
  Elf64_Shdr sections[kSections]{};  // none, .text, .symtab, .strtab
  Elf64_Sym symbols[2]{};
};

constexpr std::string_view kNames("\0.text\0.symtab\0.strtab", 23);

std::vector<char> symbol_file(const void* code, size_t bytes, const std::string& name) {
  SymbolFile file;
  Elf64_Ehdr& h = file.header;
  std::memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = ELFCLASS64;
  h.e_ident[EI_DATA] = ELFDATA2LSB;
  h.e_ident[EI_VERSION] = EV_CURRENT;
  h.e_type = ET_EXEC;
  h.e_machine = EM_X86_64;
  h.e_version = EV_CURRENT;
  h.e_shoff = offsetof(SymbolFile, sections);
  h.e_ehsize = sizeof(Elf64_Ehdr);
  h.e_shentsize = sizeof(Elf64_Shdr);
  h.e_shnum = SymbolFile::kSections;
  h.e_shstrndx = 3;
  const auto address = reinterpret_cast<uint64_t>(code);
  const size_t strings = kNames.size() + name.size() + 1;
  file.sections[1] = {1, SHT_NOBITS, SHF_ALLOC | SHF_EXECINSTR, address, 0, bytes, 0, 0, 16, 0};
  file.sections[2] = {
      7, SHT_SYMTAB,       0, 0, offsetof(SymbolFile, symbols), sizeof file.symbols, 3, 1,
      8, sizeof(Elf64_Sym)};
  file.sections[3] = {15, SHT_STRTAB, 0, 0, sizeof(SymbolFile), strings, 0, 0, 1, 0};
  file.symbols[1] = {static_cast<uint32_t>(kNames.size()),
                     ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                     STV_DEFAULT,
                     1,
                     address,
                     bytes};
  std::vector<char> text(sizeof file + strings);
  std::memcpy(text.data(), &file, sizeof file);
  std::memcpy(text.data() + sizeof file, kNames.data(), kNames.size());
  std::memcpy(text.data() + sizeof file + kNames.size(), name.c_str(), name.size() + 1);
  return text;
}

}  // namespace

void write_perf_map(const void* code, size_t bytes, const std::string& name) {
  const std::string path = "/tmp/perf-" + std::to_string(getpid()) + ".map";
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return;
  struct stat s{};
  const bool ours = fstat(file, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid();
  if (ours && (s.st_mode & 077) == 0) {
    char place[64];
    std::snprintf(place, sizeof place, "%lx %zx ", reinterpret_cast<uintptr_t>(code), bytes);
    const std::string line = place + name + "\n";
    // A line that does not fit the disk is missing from reports, and nothing else.
    [[maybe_unused]] const ssize_t written = write(file, line.data(), line.size());
  }
  close(file);
}

struct GdbName::Entry {
  std::vector<char> file;
  jit_code_entry link{};
};

GdbName::GdbName(const void* code, size_t bytes, const std::string& name)
    : entry_(std::make_unique<Entry>()) {
  entry_->file = symbol_file(code, bytes, name);
  jit_code_entry& e = entry_->link;
  e.symbol_file = entry_->file.data();
  e.symbol_file_bytes = entry_->file.size();
  const std::lock_guard lock(descriptor_mutex());
  jit_descriptor& d = __jit_debug_descriptor;
  e.next = d.first;
  if (e.next) e.next->previous = &e;
  d.first = d.relevant = &e;
  d.action = 1;
  __jit_debug_register_code();
}

GdbName::~GdbName() {
  const std::lock_guard lock(descriptor_mutex());
  jit_descriptor& d = __jit_debug_descriptor;
  jit_code_entry& e = entry_->link;
  (e.previous ? e.previous->next : d.first) = e.next;
  if (e.next) e.next->previous = e.previous;
  d.relevant = &e;
  d.action = 2;
  __jit_debug_register_code();
}

}  // namespace ourjit
