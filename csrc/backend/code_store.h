// Machine code that outlives the process: keys of code, and where it is kept.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "cache/store.h"

namespace ourjit {

/// Where the code of one compiler is kept; without `store`, nowhere. Thread-safe.
struct CodeStore {
  std::shared_ptr<cache::Store> store;
  cache::Key common;  // what all of the compiler's code depends on

  std::optional<cache::Entry> find(const cache::Key& key) const;
  void keep(const cache::Key& key, std::vector<cache::Component> notes, std::string code) const;
  /// `common` and what one piece of code depends on beside.
  cache::Key key(std::vector<cache::Component> own) const;
};

/// The build of ourjit, and each option that affects code.
cache::Key key_of_options(const Options& options);

/// The value of a note; empty if there is none.
std::string note(const cache::Entry& entry, std::string_view name);

}  // namespace ourjit
