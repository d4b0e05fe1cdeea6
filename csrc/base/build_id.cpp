#include "base/build_id.h"

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>

namespace ourjit {

namespace {

struct Search {
  uintptr_t inside = 0;  // an address in the object that is looked for
  std::string id;
};

bool contains(const dl_phdr_info& object, uintptr_t address) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object.dlpi_phdr[i];
    const uintptr_t begin = object.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && address >= begin && address - begin < segment.p_memsz)
      return true;
  }
  return false;
}

std::string hex(const unsigned char* bytes, size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

/// The id among the notes of a segment: records of a header, a name and a value, each padded to 4
/// bytes.
std::string id_in(const unsigned char* notes, size_t bytes) {
  const auto padded = [](size_t n) { return (n + 3) / 4 * 4; };
  for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= bytes;) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes + at, sizeof header);
    const size_t name = at + sizeof header, value = name + padded(header.n_namesz);
    if (value + header.n_descsz > bytes) break;
    const bool gnu = header.n_namesz == 4 && std::memcmp(notes + name, "GNU", 4) == 0;
    if (gnu && header.n_type == NT_GNU_BUILD_ID) return hex(notes + value, header.n_descsz);
    at = value + padded(header.n_descsz);
  }
  return "";
}

int visit(dl_phdr_info* object, size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  if (!contains(*object, search.inside)) return 0;
  for (int i = 0; i < object->dlpi_phnum && search.id.empty(); ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type == PT_NOTE)
      search.id = id_in(reinterpret_cast<const unsigned char*>(object->dlpi_addr + segment.p_vaddr),
                        segment.p_memsz);
  }
  return 1;
}

}  // namespace

const std::string& build_id() {
  static const std::string id = [] {
    Search search;
    search.inside = reinterpret_cast<uintptr_t>(&visit);
    dl_iterate_phdr(&visit, &search);
    return search.id;
  }();
  return id;
}

}  // namespace ourjit
