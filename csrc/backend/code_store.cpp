#include "backend/code_store.h"

#include <utility>

#include "base/build_id.h"

namespace ourjit {

namespace {

std::string text(bool x) { return x ? "true" : "false"; }
std::string text(int64_t x) { return std::to_string(x); }
std::string text(const std::string& x) { return x; }

}  // namespace

std::optional<cache::Entry> CodeStore::find(const cache::Key& key) const {
  return store ? store->load(key) : std::nullopt;
}

void CodeStore::keep(const cache::Key& key, std::vector<cache::Component> notes,
                     std::string code) const {
  if (store) store->save({key, std::move(notes), std::move(code)});
}

cache::Key CodeStore::key(std::vector<cache::Component> own) const {
  if (!store) return {};
  cache::Key all = common;
  for (cache::Component& c : own) all.push_back(std::move(c));
  return all;
}

cache::Key key_of_options(const Options& options) {
  cache::Key key = {{"build", build_id()}};
#define X(name, type, default_value, environment, affects_code, help) \
  if (affects_code) key.push_back({"option " #name, text(options.name)});
#include "ourjit/options.def"
#undef X
  return key;
}

std::string note(const cache::Entry& entry, std::string_view name) {
  for (const cache::Component& n : entry.notes)
    if (n.name == name) return n.value;
  return "";
}

}  // namespace ourjit
