#include "cache/entry.h"

#include <bit>
#include <cstddef>
#include <cstring>

#include "cache/hash.h"

namespace ourjit::cache {

static_assert(std::endian::native == std::endian::little);

namespace {

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t notes;       // their number
  uint32_t components;  // of the key
  uint32_t head_bytes;  // behind this header
  uint64_t payload_bytes;
  uint64_t payload_check;
  uint64_t head_check;  // of all before it here, and of the head
};
static_assert(sizeof(Header) == kHeaderBytes);

constexpr char kMagic[8] = {'o', 'u', 'r', 'j', 'i', 't', '\r', '\n'};
constexpr size_t kChecked = offsetof(Header, head_check);

uint64_t head_check(const Header& h, std::string_view head) {
  return hash64(head, hash64({reinterpret_cast<const char*>(&h), kChecked}));
}

void append(std::string& bytes, const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
  bytes += text;
}

/// A length and so many bytes, taken from the front of `rest`.
std::string take(std::string_view& rest) {
  uint32_t size = 0;
  if (rest.size() < sizeof size) throw BadEntry("a component is cut off");
  std::memcpy(&size, rest.data(), sizeof size);
  rest.remove_prefix(sizeof size);
  if (rest.size() < size) throw BadEntry("a component is cut off");
  std::string text(rest.substr(0, size));
  rest.remove_prefix(size);
  return text;
}

std::vector<Component> take_components(std::string_view& rest, uint32_t count) {
  // Each takes 8 bytes at least, which bounds what a wrong count can allocate.
  if (count > rest.size() / 8) throw BadEntry("it has more components than bytes for them");
  std::vector<Component> components(count);
  for (Component& c : components) {
    c.name = take(rest);
    c.value = take(rest);
  }
  return components;
}

Header header_of(std::string_view bytes, size_t file_bytes) {
  Header h;
  if (bytes.size() < sizeof h) throw BadEntry(bytes.empty() ? "it is empty" : "it is cut off");
  std::memcpy(&h, bytes.data(), sizeof h);
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0)
    throw BadEntry("it does not begin as an entry does");
  if (h.version != kFormatVersion)
    throw BadEntry("its format version is " + std::to_string(h.version) + ", not " +
                   std::to_string(kFormatVersion));
  if (file_bytes > kMaxEntryBytes) throw BadEntry("it is too large");
  // In this order, so that no sum overflows.
  if (h.payload_bytes > file_bytes || sizeof h + h.head_bytes + h.payload_bytes != file_bytes)
    throw BadEntry("its size is not the one that it names");
  return h;
}

}  // namespace

std::string encode(const Entry& entry) {
  Header h{};
  std::string head;
  for (const auto* components : {&entry.notes, &entry.key})
    for (const Component& c : *components) {
      append(head, c.name);
      append(head, c.value);
    }
  if (head.size() + entry.payload.size() + sizeof h > kMaxEntryBytes)
    throw BadEntry("it is too large");
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.version = kFormatVersion;
  h.notes = static_cast<uint32_t>(entry.notes.size());
  h.components = static_cast<uint32_t>(entry.key.size());
  h.head_bytes = static_cast<uint32_t>(head.size());
  h.payload_bytes = entry.payload.size();
  h.payload_check = hash64(entry.payload);
  h.head_check = head_check(h, head);
  std::string bytes;
  bytes.reserve(sizeof h + head.size() + entry.payload.size());
  bytes.append(reinterpret_cast<const char*>(&h), sizeof h);
  return bytes.append(head).append(entry.payload);
}

size_t head_bytes(std::string_view header, size_t file_bytes) {
  return sizeof(Header) + header_of(header, file_bytes).head_bytes;
}

Entry decode_head(std::string_view bytes, size_t file_bytes) {
  const Header h = header_of(bytes, file_bytes);
  if (bytes.size() < sizeof h + h.head_bytes) throw BadEntry("it is cut off");
  std::string_view rest = bytes.substr(sizeof h, h.head_bytes);
  if (head_check(h, rest) != h.head_check) throw BadEntry("the checksum of its head is wrong");
  Entry entry;
  entry.notes = take_components(rest, h.notes);
  entry.key = take_components(rest, h.components);
  if (!rest.empty()) throw BadEntry("its head is longer than its components");
  return entry;
}

Entry decode(std::string_view bytes) {
  Entry entry = decode_head(bytes, bytes.size());
  const Header h = header_of(bytes, bytes.size());
  entry.payload = bytes.substr(sizeof h + h.head_bytes);
  if (hash64(entry.payload) != h.payload_check)
    throw BadEntry("the checksum of its payload is wrong");
  return entry;
}

}  // namespace ourjit::cache
