#include "base/options.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "base/error.h"

namespace ourjit {
namespace {

void parse(const std::string& text, bool& out) {
  if (text == "1" || text == "true" || text == "True")
    out = true;
  else if (text == "0" || text == "false" || text == "False")
    out = false;
  else
    OURJIT_RAISE(UserError) << "'" << text << "' is not a boolean (use 0 or 1)";
}

void parse(const std::string& text, int64_t& out) {
  char* end = nullptr;
  out = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end) OURJIT_RAISE(UserError) << "'" << text << "' is not an integer";
}

void parse(const std::string& text, std::string& out) { out = text; }

/// Sets `field` from the environment variable or raises UserError naming it.
template <class T>
void read_environment(const char* variable, T& field) {
  const char* text = std::getenv(variable);
  if (!text) return;
  try {
    parse(text, field);
  } catch (const UserError& e) {
    OURJIT_RAISE(UserError) << "environment variable " << variable << ": " << e.what();
  }
}

template <class T>
void assign(const std::string& name, const OptionValue& value, T& field) {
  if (!std::holds_alternative<T>(value))
    OURJIT_RAISE(UserError) << "option '" << name << "' has a value of the wrong type";
  field = std::get<T>(value);
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 6 &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_target(std::string_view t) {
  return t == "cpu" || t == "cuda" || t == "emulate" ||
         (t.starts_with("cuda:") && is_number(t.substr(5))) ||
         (t.starts_with("sm_") && is_number(t.substr(3)));
}

void check(const Options& o) {
  if (!is_target(o.target))
    OURJIT_RAISE(UserError) << "option 'target' must be cpu, cuda, cuda:N, emulate or an "
                               "architecture such as sm_90, not '"
                            << o.target << "'";
  static constexpr std::string_view kMatmuls[] = {"fastest", "aten", "onednn", "ourjit"};
  if (std::find(std::begin(kMatmuls), std::end(kMatmuls), o.matmul) == std::end(kMatmuls))
    OURJIT_RAISE(UserError) << "option 'matmul' must be fastest, aten, onednn or ourjit, not '"
                            << o.matmul << "'";
  const int64_t bits = o.max_vector_bits;
  if (bits != 0 && bits != 128 && bits != 256 && bits != 512)
    OURJIT_RAISE(UserError) << "option 'max_vector_bits' must be 0, 128, 256 or 512, not " << bits;
  if (o.compile_threads < 0 || o.compile_threads > 1024)
    OURJIT_RAISE(UserError) << "option 'compile_threads' must be between 0 and 1024, not "
                            << o.compile_threads;
  if (o.verify < 0 || o.verify > 2)
    OURJIT_RAISE(UserError) << "option 'verify' must be 0, 1 or 2, not " << o.verify;
}

}  // namespace

bool Options::logs(std::string_view stage) const {
  if (log == "all") return true;
  const std::string padded = "," + log + ",";
  return padded.find("," + std::string(stage) + ",") != std::string::npos;
}

const std::vector<OptionInfo>& option_table() {
  static const std::vector<OptionInfo> table = {
#define X(name, type, default_value, environment, affects_code, help) \
  {#name, #type, environment, help, OptionValue(type(default_value)), affects_code},
#include "ourjit/options.def"
#undef X
  };
  return table;
}

Options make_options(const std::map<std::string, OptionValue>& given) {
  Options o;
#define X(name, type, default_value, environment, affects_code, help) \
  read_environment(environment, o.name);
#include "ourjit/options.def"
#undef X
  for (const auto& [key, value] : given) {
    bool known = false;
#define X(name, type, default_value, environment, affects_code, help) \
  if (key == #name) {                                                 \
    assign(key, value, o.name);                                       \
    known = true;                                                     \
  }
#include "ourjit/options.def"
#undef X
    if (!known) OURJIT_RAISE(UserError) << "unknown option '" << key << "'";
  }
  check(o);
  return o;
}

}  // namespace ourjit
