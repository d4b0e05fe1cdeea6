#include "bindings/cache.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cache/contents.h"
#include "cache/store.h"

namespace py = pybind11;

namespace ourjit {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// Bytes that are no UTF-8 as escapes: what lies in a cache may hold anything.
py::object text(const std::string& bytes, size_t limit = std::string::npos) {
  const size_t size = std::min(bytes.size(), limit);
  PyObject* o =
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(size), "backslashreplace");
  if (!o) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(o);
}

py::list texts(const std::vector<cache::Component>& components, size_t limit = std::string::npos) {
  py::list pairs;
  for (const cache::Component& c : components)
    pairs.append(py::make_tuple(text(c.name, limit), text(c.value, limit)));
  return pairs;
}

std::vector<cache::Component> components_of(const Pairs& pairs) {
  std::vector<cache::Component> components;
  for (const auto& [name, value] : pairs) components.push_back({name, value});
  return components;
}

py::list list_entries(const std::string& folder, bool payloads, size_t text_limit) {
  std::vector<cache::Listed> items;
  {
    const py::gil_scoped_release released;
    items = cache::list(folder, payloads);
  }
  py::list entries;
  for (const cache::Listed& item : items) {
    py::dict d;
    d["name"] = text(item.name);
    d["digest"] = item.digest;
    d["bytes"] = item.bytes;
    d["used"] = item.used;
    d["state"] = item.state;
    d["problem"] = text(item.problem);
    d["notes"] = texts(item.entry.notes, text_limit);
    d["key"] = texts(item.entry.key, text_limit);
    entries.append(d);
  }
  return entries;
}

py::dict read_entry(const std::string& folder, const std::string& digest) {
  cache::Entry entry;
  try {
    entry = cache::read(folder, digest);
  } catch (const cache::BadEntry& e) {
    OURJIT_RAISE(UserError) << "the entry " << digest << " is corrupt: " << e.what();
  }
  py::dict d;
  d["key"] = texts(entry.key);
  d["notes"] = texts(entry.notes);
  d["payload"] = py::bytes(entry.payload);
  return d;
}

std::string save_entry(const std::string& folder, const Pairs& key, const Pairs& notes,
                       const py::bytes& payload) {
  const cache::Entry entry{components_of(key), components_of(notes), payload};
  std::string trouble;
  const auto store =
      cache::Store::open(folder, cache::kMaxEntryBytes, [&](const std::string& t) { trouble = t; });
  store->save(entry);
  if (store->counters().stores != 1) OURJIT_RAISE(UserError) << "not saved: " << trouble;
  return cache::digest(entry.key);
}

py::dict removed_dict(const cache::Removed& r) {
  py::dict d;
  d["files"] = r.files;
  d["bytes"] = r.bytes;
  d["files_left"] = r.files_left;
  d["bytes_left"] = r.bytes_left;
  d["temporary"] = r.temporary;
  return d;
}

}  // namespace

void add_cache_functions(py::module_& m) {
  m.def("cache_default_folder", cache::default_folder);
  m.def("cache_list", list_entries, py::arg("folder"), py::arg("payloads") = false,
        py::arg("text_limit") = 200);
  m.def("cache_read", read_entry, py::arg("folder"), py::arg("digest"));
  m.def("cache_save", save_entry, py::arg("folder"), py::arg("key"), py::arg("notes"),
        py::arg("payload"));
  m.def(
      "cache_prune",
      [](const std::string& folder, int64_t limit_bytes) {
        return removed_dict(cache::prune(folder, limit_bytes));
      },
      py::arg("folder"), py::arg("limit_bytes"));
  m.def(
      "cache_clear", [](const std::string& folder) { return removed_dict(cache::clear(folder)); },
      py::arg("folder"));
  m.def(
      "cache_differences",
      [](const Pairs& a, const Pairs& b) {
        return cache::differences(components_of(a), components_of(b));
      },
      py::arg("a"), py::arg("b"));
}

}  // namespace ourjit
