#include "base/error.h"
#include "commands.h"
#include "graph/text.h"
#include "graph/verify.h"
#include "passes/passes.h"

namespace ourjit::text_tests {
namespace {

/// Parses and prints; what is printed must parse to the same text.
std::string parse(std::string_view, std::string_view body) {
  const std::string once = print(parse_graph(body));
  const std::string twice = print(parse_graph(once));
  OURJIT_CHECK(once == twice) << "printed text reads back as\n" << twice;
  return once;
}

std::string verify_command(std::string_view, std::string_view body) {
  verify(parse_graph(body));
  return "ok\n";
}

/// `pass cse`, or several: `pass const_fold dce`.
std::string pass(std::string_view args, std::string_view body) {
  Graph g = parse_graph(body);
  verify(g);
  while (!args.empty()) {
    const std::string_view name = args.substr(0, args.find(' '));
    args.remove_prefix(std::min(args.size(), name.size() + 1));
    const Pass* p = find_pass(name);
    if (!p) OURJIT_RAISE(UserError) << "there is no pass " << name;
    g = p->run(g, {});
    verify(g);
  }
  return print(g);
}

std::string pipeline(std::string_view, std::string_view body) {
  return print(run_passes(parse_graph(body), {}));
}

}  // namespace

std::vector<Command> graph_commands() {
  return {
      {"parse", parse},
      {"verify", verify_command},
      {"pass", pass},
      {"pipeline", pipeline},
  };
}

}  // namespace ourjit::text_tests
