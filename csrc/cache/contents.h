// The folder of a cache as a whole: where its entries lie, what there is, and what goes.
//
//   ab/ab0123....v1      the entry of digest ab0123...; v1 is the version of its format
//   ab/.host.pid.x.tmp   one that is being written, or that was when its writer died
//   swept                the stamp of the last sweep
//
// All of this may run while others read, write and delete. What has other names is left alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/entry.h"

namespace ourjit::cache {

std::string folder_name(const std::string& digest);
std::string file_name(const std::string& digest);

/// A file in the folder of a cache.
struct Listed {
  std::string name;    // below the folder; of foreign files it may hold anything
  std::string digest;  // empty for foreign files
  int64_t bytes = 0;
  double used = 0;  // seconds since 1970, exact to an hour
  // ok, corrupt, refused (others can write it), unreadable, version (another format), temporary, or
  // foreign
  std::string state;
  std::string problem;  // in words
  Entry entry;          // without payload; empty unless ok
};

/// All files, by digest. `payloads` checks those too, else heads alone are read. A missing folder
/// is empty; for one that cannot be used these raise UserError.
std::vector<Listed> list(const std::string& folder, bool payloads = false);
/// One whole entry. Raises UserError if there is none, BadEntry if it is corrupt.
Entry read(const std::string& folder, const std::string& digest);

struct Removed {
  int64_t files = 0, bytes = 0;            // entries that are gone
  int64_t files_left = 0, bytes_left = 0;  // entries that stay
  int64_t temporary = 0;                   // unfinished files that are gone
};
/// Deletes entries, those used least recently first, until `limit_bytes` are left.
Removed prune(const std::string& folder, int64_t limit_bytes);
/// Deletes all entries and temporary files.
Removed clear(const std::string& folder);

/// For a folder that is open: if all entries have more than `limit_bytes`, deletes those used least
/// recently until `goal_bytes` are left; deletes temporary files that are older than an hour.
Removed sweep(int folder, int64_t limit_bytes, int64_t goal_bytes);
/// True for one of those who ask at a time, if the last sweep was an hour ago or `enough` says that
/// it is time: who is told so sweeps. Nobody waits, and nothing stays locked if that one dies.
bool claim_sweep(int folder, bool enough);

}  // namespace ourjit::cache
