// Any text: the parser of the graph IR says what is wrong with it, the verifier names the rule, and
// a graph that both take prints as itself and, if it calls nothing, goes through every pass. (What
// a call takes and gives is ATen's word: passes may believe it.)
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "passes/passes.h"

namespace {

using namespace ourjit;

void check(const std::string& text) {
  Graph g;
  try {
    g = parse_graph(text);
  } catch (const UserError&) {
    return;
  }
  try {
    verify(g);
  } catch (const InternalError&) {
    return;
  }
  const std::string printed = print(g);
  if (print(parse_graph(printed)) != printed) {
    std::fprintf(stderr, "does not read back:\n%s\n", printed.c_str());
    std::abort();
  }
  const auto is_call = [](const Node& n) { return n.op == Op::call; };
  if (std::any_of(g.nodes.begin(), g.nodes.end(), is_call)) return;
  try {
    run_passes(std::move(g), {});
  } catch (const UserError&) {
  } catch (const Unsupported&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check({reinterpret_cast<const char*>(data), size});
  return 0;
}
