// heddle completion: a shell script made from the parser itself, so that it never lags behind.
#include <iostream>
#include <memory>

#include "cli/commands.h"

namespace heddle::cli {
namespace {

std::string options_of(const CLI::App& command) {
  std::string words;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) words += " --" + name;
    for (const std::string& name : option->get_snames()) words += " -" + name;
  }
  return words;
}

void print_bash(const CLI::App& app) {
  std::string commands, cases;
  for (const CLI::App* command : app.get_subcommands({})) {
    commands += " " + command->get_name();
    cases += "    " + command->get_name() + ") words=\"" + options_of(*command) + "\" ;;\n";
  }
  std::cout
      << "_heddle() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} words=\n"
         "  case ${COMP_WORDS[1]} in\n"
      << cases << "    *) words=\"" << commands << options_of(app)
      << "\" ;;\n"
         "  esac\n"
         "  if [[ $current == -* || $COMP_CWORD -eq 1 ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "  else COMPREPLY=($(compgen -f -- \"$current\")); fi\n"
         "}\n"
         "complete -o filenames -F _heddle heddle\n";
}

void print_fish(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands({})) {
    std::cout << "complete -c heddle -n __fish_use_subcommand -f -a " << command->get_name() << " -d '"
              << command->get_description() << "'\n";
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        std::cout << "complete -c heddle -n '__fish_seen_subcommand_from " << command->get_name() << "' -l " << name
                  << "\n";
      }
    }
  }
}

}  // namespace

void add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>("bash");
  CLI::App* command = app.add_subcommand("completion", "Print a completion script: source <(heddle completion bash)");
  command->add_option("shell", *shell, "bash (zsh reads it after bashcompinit) or fish")
      ->check(CLI::IsMember({"bash", "fish"}))
      ->capture_default_str();
  command->callback([&app, shell] { *shell == "fish" ? print_fish(app) : print_bash(app); });
}

}  // namespace heddle::cli
