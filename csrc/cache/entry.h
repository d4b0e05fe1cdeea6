// What one file of the cache holds, and its bytes:
//
//   header   magic, format version, number of notes and of key components, sizes, checksums
//   head     names and values of the notes, then of the key, each behind its length
//   payload
//
// The payload's checksum stands in the header, and the head's covers header and head: no byte of a
// file is without a check. The head by itself says what an entry is, so lists read no payload.
// Numbers are little-endian.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cache/key.h"

namespace ourjit::cache {

struct Entry {
  Key key;
  std::vector<Component> notes;  // for readers, and no part of the key: a name, times
  std::string payload;
};

/// Part of the names of files: other versions leave each other's files alone.
constexpr uint32_t kFormatVersion = 1;
/// Larger entries are neither written nor read, so that no damaged size can exhaust memory.
constexpr size_t kMaxEntryBytes = size_t{256} << 20;
constexpr size_t kHeaderBytes = 48;

/// Bytes are no entry; the message says why.
class BadEntry : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string encode(const Entry& entry);
/// Raises BadEntry unless `bytes` are what encode() returned. Allocates no more than a small
/// multiple of their size.
Entry decode(std::string_view bytes);

/// Size of header and head of a file of `file_bytes` that begins with these kHeaderBytes. Raises
/// BadEntry.
size_t head_bytes(std::string_view header, size_t file_bytes);
/// The entry without its payload, of the first head_bytes(). Raises BadEntry.
Entry decode_head(std::string_view bytes, size_t file_bytes);

}  // namespace ourjit::cache
