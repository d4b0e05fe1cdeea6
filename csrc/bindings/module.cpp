// The Python module ourjit._C.
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "adapter/aten_interpreter.h"
#include "adapter/executable.h"
#include "adapter/products.h"
#include "adapter/profiling.h"
#include "adapter/tensors.h"
#include "backend/nvrtc.h"
#include "base/build_id.h"
#include "base/error.h"
#include "base/options.h"
#include "bindings/cache.h"
#include "bindings/errors.h"
#include "bindings/fx_import.h"
#include "bindings/py_executable.h"
#include "code_target.h"
#include "codegen/cuda_prelude.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "passes/passes.h"

namespace py = pybind11;

namespace ourjit {
namespace {

OptionValue option_value(const std::string& name, const py::handle& o) {
  if (py::isinstance<py::bool_>(o)) return o.cast<bool>();
  if (py::isinstance<py::int_>(o)) return o.cast<int64_t>();
  if (py::isinstance<py::str>(o)) return o.cast<std::string>();
  OURJIT_RAISE(UserError) << "option '" << name << "' must be a bool, an int or a str, not a "
                          << Py_TYPE(o.ptr())->tp_name;
}

Options options_of(const py::dict& given) {
  std::map<std::string, OptionValue> values;
  for (const auto& [key, value] : given) {
    const std::string name = py::str(key);
    values.emplace(name, option_value(name, value));
  }
  return make_options(values);
}

py::dict options_dict(const Options& options) {
  py::dict d;
#define X(name, type, default_value, environment, affects_code, help) d[#name] = options.name;
#include "ourjit/options.def"
#undef X
  return d;
}

py::list option_rows() {
  py::list rows;
  for (const OptionInfo& o : option_table())
    rows.append(py::make_tuple(
        o.name, o.type, std::visit([](const auto& v) { return py::cast(v); }, o.default_value),
        o.environment, o.affects_code, o.help));
  return rows;
}

/// (key, addresses) of inputs. The key is equal for two lists if nothing but addresses and contents
/// differs; the address of what is no tensor is 0.
py::tuple layout_and_addresses(const py::list& inputs) {
  std::string key;
  py::list addresses(inputs.size());
  const auto add = [&](int64_t x) { key.append(reinterpret_cast<const char*>(&x), sizeof x); };
  for (size_t i = 0; i < inputs.size(); ++i) {
    const py::handle o = inputs[i];
    uint64_t address = 0;
    if (!THPVariable_Check(o.ptr())) {
      add(-1);
      add(o.is_none() ? 0 : o.cast<int64_t>());
    } else {
      const at::Tensor& t = THPVariable_Unpack(o.ptr());
      // Lazy conjugation, subclasses and the like are in the key set.
      add(static_cast<int64_t>(t.key_set().raw_repr()));
      add(static_cast<int64_t>(t.scalar_type()));
      if (t.layout() == c10::kStrided && t.has_storage()) {
        address = reinterpret_cast<uintptr_t>(t.data_ptr());
        add(t.dim());
        for (const int64_t size : t.sizes()) add(size);
        for (const int64_t stride : t.strides()) add(stride);
      }
    }
    addresses[i] = address;
  }
  return py::make_tuple(py::bytes(key), addresses);
}

uintptr_t memory_address(const at::Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.storage().data());
}

/// Positions of the tensors whose memory others than these very tensors hold too.
std::vector<size_t> held_elsewhere(const std::vector<at::Tensor>& tensors) {
  std::map<const c10::StorageImpl*, std::set<const c10::TensorImpl*>> own;
  for (const at::Tensor& t : tensors)
    own[t.storage().unsafeGetStorageImpl()].insert(t.unsafeGetTensorImpl());
  std::vector<size_t> found;
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].storage().use_count() > own[tensors[i].storage().unsafeGetStorageImpl()].size())
      found.push_back(i);
  return found;
}

py::dict stats_dict(const Stats& s) {
  py::dict d, library, fallbacks, reasons;
  for (const auto& [target, count] : s.library_calls) library[target.c_str()] = count;
  for (const auto& [target, f] : s.fallbacks) {
    py::dict entry;
    entry["count"] = f.count;
    entry["reason"] = f.reason;
    fallbacks[target.c_str()] = entry;
  }
  d["graphs"] = s.graphs;
  d["kernels_compiled"] = s.kernels_compiled;
  d["kernels_loaded"] = s.kernels_loaded;
  d["backend_seconds"] = s.backend_seconds;
  d["library_calls"] = library;
  d["fallbacks"] = fallbacks;
  d["guard_misses"] = s.guard_misses;
  const cache::Counters& c = s.disk_cache;
  py::dict cache;
  for (const auto& [name, count] : {std::pair{"hits", c.hits},
                                    {"misses", c.misses},
                                    {"stores", c.stores},
                                    {"corrupt", c.corrupt},
                                    {"refused", c.refused},
                                    {"evicted", c.evicted},
                                    {"errors", c.errors}})
    cache[name] = count;
  d["disk_cache"] = cache;
  for (const auto& [reason, count] : s.guard_miss_reasons) reasons[reason.c_str()] = count;
  d["guard_miss_reasons"] = reasons;
  return d;
}

/// [{form, chosen, microseconds by way}, ...] of the products measured in this process.
py::list products() {
  py::list found;
  for (const ProductTimes& p : product_times()) {
    py::dict d, microseconds;
    for (size_t i = 0; i < p.microseconds.size(); ++i)
      microseconds[name(static_cast<ProductBy>(i))] = p.microseconds[i];
    d["form"] = p.form;
    d["chosen"] = name(p.chosen);
    d["microseconds"] = microseconds;
    found.append(d);
  }
  return found;
}

py::object host_cpu() {
  const std::optional<HostFacts> host = host_facts();
  if (!host) return py::none();
  py::dict d;
  d["name"] = host->name;
  d["features"] = host->features;
  d["vector_bits"] = host->vector_bits;
  d["llvm_version"] = host->llvm_version;
  return d;
}

std::vector<at::Tensor> tensors_of(const py::sequence& objects) {
  std::vector<at::Tensor> tensors;
  for (const py::handle& o : objects) {
    if (!THPVariable_Check(o.ptr())) OURJIT_RAISE(UserError) << "constants must be tensors";
    tensors.push_back(THPVariable_Unpack(o.ptr()));
  }
  return tensors;
}

/// Graph text, or the data that fx_export makes, of tensors on `device`.
Graph graph_of(const py::object& o, const std::string& device = "cpu") {
  return py::isinstance<py::str>(o) ? parse_graph(o.cast<std::string>())
                                    : import_graph(o.ptr(), device);
}

py::object compile(const std::shared_ptr<Session>& session, const py::object& type,
                   const py::object& data, const py::sequence& constants, size_t table_rows,
                   bool reports) {
  std::vector<at::Tensor> tensors = tensors_of(constants);
  Graph graph = graph_of(data, session->compiler.target().tensors_on());
  std::unique_ptr<Executable> executable;
  {
    const py::gil_scoped_release released;
    executable = std::make_unique<Executable>(
        session, session->compiler.compile(std::move(graph), table_rows, reports),
        std::move(tensors));
  }
  return py::reinterpret_steal<py::object>(new_executable(type.ptr(), std::move(executable)));
}

py::list interpret_graph(const py::object& graph, const py::sequence& inputs) {
  std::vector<CallValue> values;
  for (const py::handle& o : inputs) {
    if (THPVariable_Check(o.ptr()))
      values.push_back({THPVariable_Unpack(o.ptr()), std::nullopt});
    else
      values.push_back({{}, o.cast<int64_t>()});
  }
  py::list outputs;
  for (CallValue& v : interpret(graph_of(graph, "cpu"), values)) {
    if (v.tensor.defined())
      outputs.append(py::reinterpret_steal<py::object>(THPVariable_Wrap(std::move(v.tensor))));
    else
      outputs.append(v.number ? py::object(py::int_(*v.number)) : py::none());
  }
  return outputs;
}

std::string run_named_passes(const py::object& graph, const std::vector<std::string>& names) {
  Graph g = graph_of(graph, "cpu");
  verify(g);
  for (const std::string& name : names) {
    const Pass* pass = find_pass(name);
    if (!pass) OURJIT_RAISE(UserError) << "there is no pass '" << name << "'";
    g = pass->run(g, {});
    verify(g);
  }
  return print(g);
}

}  // namespace
}  // namespace ourjit

PYBIND11_MODULE(_C, m) {
  using namespace ourjit;
  if (!add_error_types(m.ptr())) throw py::error_already_set();
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error&) {
      set_python_error();
    }
  });
  const auto executable_type = py::reinterpret_steal<py::object>(make_executable_type());
  if (!executable_type) throw py::error_already_set();
  m.attr("Executable") = executable_type;
  m.attr("HAS_CPU_TARGET") = has_cpu_target();
  m.def("host_cpu", host_cpu);
  m.def("nvrtc_options", nvrtc_options, py::arg("architecture"), py::arg("major"));
  m.def("cuda_prelude_for", cuda_prelude_for, py::arg("text"));
  m.def("option_table", option_rows);
  m.def("build_id", build_id);
  m.def(
      "options", [](const py::dict& given) { return options_dict(options_of(given)); },
      py::arg("given") = py::dict());
  add_cache_functions(m);
  py::class_<Session, std::shared_ptr<Session>>(m, "Compiler",
                                                "Compiles graphs with one set of options.")
      .def(py::init([](const py::dict& options) {
             const py::object version = py::module_::import("torch.version");
             return std::make_shared<Session>(
                 options_of(options), py::str(version.attr("__version__")).cast<std::string>() +
                                          " " +
                                          py::str(version.attr("git_version")).cast<std::string>());
           }),
           py::arg("options"))
      .def("options", [](const Session& s) { return options_dict(s.compiler.options()); })
      .def(
          "compile",
          [executable_type](const std::shared_ptr<Session>& s, const py::object& graph,
                            const py::sequence& constants, size_t table_rows, bool reports) {
            return compile(s, executable_type, graph, constants, table_rows, reports);
          },
          py::arg("graph"), py::arg("constants") = py::tuple(), py::arg("table_rows") = 1,
          py::arg("reports") = false)
      .def("stats", [](const Session& s) { return stats_dict(s.compiler.stats()); })
      .def("take_warnings", [](Session& s) { return s.compiler.take_warnings(); })
      .def("reset", [](Session& s) { s.compiler.reset(); });
  m.def("layout_and_addresses", layout_and_addresses, py::arg("inputs"));
  m.def("memory_address", memory_address, py::arg("tensor"));
  m.def(
      "tensor_within",
      [](const at::Tensor& base, at::ScalarType dtype, const std::vector<int64_t>& sizes,
         const std::vector<int64_t>& strides,
         int64_t byte_offset) { return tensor_within(base, dtype, sizes, strides, byte_offset); },
      py::arg("base"), py::arg("dtype"), py::arg("sizes"), py::arg("strides"),
      py::arg("byte_offset"));
  m.def("is_profiled", is_profiled);
  m.def("products", products);
  m.def("held_elsewhere", held_elsewhere, py::arg("tensors"));
  m.def("interpret_graph", interpret_graph, py::arg("graph"), py::arg("inputs"));
  m.def("run_passes", run_named_passes, py::arg("graph"), py::arg("names"));
  m.def("import_graph", [](const py::object& graph) { return print(graph_of(graph, "cpu")); });
}
