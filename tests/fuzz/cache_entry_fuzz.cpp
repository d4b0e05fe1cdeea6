// Any bytes: the reader of cache entries says what is wrong with them, and what it takes is written
// as the same bytes. Each input is read as it is and with its checksums made right, which lets the
// fuzzer past them.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "cache/entry.h"
#include "cache/hash.h"

namespace {

using namespace ourjit::cache;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

bool head_is_read(std::string_view bytes, Entry& entry) {
  try {
    entry = decode_head(bytes.substr(0, head_bytes(bytes, bytes.size())), bytes.size());
    return true;
  } catch (const BadEntry&) {
    return false;
  }
}

void check(std::string_view bytes) {
  Entry head;
  const bool has_head = head_is_read(bytes, head);
  Entry entry;
  try {
    entry = decode(bytes);
  } catch (const BadEntry&) {
    return;
  }
  if (encode(entry) != bytes) fail("does not write back");
  if (!has_head || head.key != entry.key || head.notes != entry.notes) fail("its head is another");
}

/// Where cache/entry.cpp has these in the header.
constexpr size_t kHeadBytes = 20, kPayloadCheck = 32, kHeadCheck = 40;

std::string with_right_checksums(std::string bytes) {
  if (bytes.size() < kHeaderBytes) return bytes;
  uint32_t head = 0;
  std::memcpy(&head, bytes.data() + kHeadBytes, sizeof head);
  if (head > bytes.size() - kHeaderBytes) return bytes;
  const std::string_view all = bytes;
  const uint64_t payload_check = hash64(all.substr(kHeaderBytes + head));
  std::memcpy(bytes.data() + kPayloadCheck, &payload_check, sizeof payload_check);
  const uint64_t head_check =
      hash64(all.substr(kHeaderBytes, head), hash64(all.substr(0, kHeadCheck)));
  std::memcpy(bytes.data() + kHeadCheck, &head_check, sizeof head_check);
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  check(bytes);
  check(with_right_checksums(bytes));
  return 0;
}
