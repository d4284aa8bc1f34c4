// The subcommands. Each adds itself to the parser and does its work in a callback; results go to stdout, the rest to
// stderr.
#pragma once

#include <CLI/CLI.hpp>

namespace heddle::cli {

void add_run(CLI::App& app);
void add_eval(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_inspect(CLI::App& app);
void add_bench(CLI::App& app);
void add_explain(CLI::App& app);
void add_methods(CLI::App& app);
void add_judge(CLI::App& app);
void add_promise(CLI::App& app);
void add_completion(CLI::App& app);

}  // namespace heddle::cli
