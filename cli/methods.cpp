// heddle methods: what can be asked of attention, from the one declaration of each method.
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "attention_control/plugins/registry.h"
#include "cli/commands.h"
#include "io/preset.h"
#include "io/preset_schema.h"

namespace heddle::cli {
namespace {

void print_params(const std::vector<ParamInfo>& params, int indent) {
  for (const ParamInfo& p : params) {
    std::cout << std::string(static_cast<size_t>(indent), ' ') << p.name << (p.required ? " (needed)" : "") << ": "
              << p.type;
    if (!p.limits.empty() && p.limits != p.type) std::cout << ", " << p.limits;
    if (!p.initial.empty()) std::cout << ", default " << p.initial;
    std::cout << "\n" << std::string(static_cast<size_t>(indent) + 4, ' ') << p.help << "\n";
    print_params(p.inner, indent + 2);
  }
}

void print_method(const MethodInfo& info) {
  std::cout << info.name << ": " << info.summary << "\n  " << info.source << "\n";
  print_params(info.params(), 2);
}

void list_methods() {
  for (const MethodInfo& info : methods()) std::cout << std::left << std::setw(24) << info.name << info.summary << "\n";
}

std::vector<std::pair<std::string, std::vector<ParamInfo>>> method_params() {
  std::vector<std::pair<std::string, std::vector<ParamInfo>>> out;
  for (const MethodInfo& info : methods()) out.emplace_back(info.name, info.params());
  return out;
}

}  // namespace

void add_methods(CLI::App& app) {
  struct Arguments {
    std::string name;
    bool schema = false;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("methods", "List the attention methods, or one with its parameters");
  command->add_option("name", a->name, "A method");
  command->add_flag("--schema", a->schema, "JSON Schema of presets, for editors");
  command->footer(
      "examples:\n  heddle methods\n  heddle methods attend_and_excite\n  heddle methods --schema > "
      "preset.schema.json");
  command->callback([a] {
    if (a->schema) {
      std::cout << preset_schema(method_params()) << "\n";
    } else if (a->name.empty()) {
      list_methods();
    } else {
      print_method(method_named(a->name, "methods"));
    }
  });
}

}  // namespace heddle::cli
