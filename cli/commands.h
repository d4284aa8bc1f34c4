// The subcommands. Each adds itself to the parser and does its work in a callback; results go to stdout, the rest to
// stderr.
#pragma once

#include <CLI/CLI.hpp>

namespace heddle::cli {

void add_eval(CLI::App& app);
void add_bench(CLI::App& app);

}  // namespace heddle::cli
