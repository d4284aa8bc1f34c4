// The `heddle` command: parses, dispatches, and turns every failure into one line and its exit code.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <iostream>
#include <new>

#include "cli/commands.h"
#include "kernels/core/error.h"

namespace {

constexpr const char* exit_codes =
    "exit codes: 0 done, 1 internal error, 2 usage or preset error, 3 input file unreadable or malformed,\n"
    "            4 memory budget exceeded, 5 cancelled";

int run(int argc, char** argv) {
  CLI::App app{"heddle: pictures from diffusion models whose attention is controllable", "heddle"};
  app.require_subcommand(1);
  app.fallthrough();  // -v may stand after the subcommand
  app.set_version_flag("--version", HEDDLE_VERSION);
  app.footer(exit_codes);
  int verbosity = 0;
  app.add_flag("-v,--verbose", verbosity, "Say more on stderr; -vv for everything");
  app.parse_complete_callback([&] {
    spdlog::set_level(verbosity == 0   ? spdlog::level::warn
                      : verbosity == 1 ? spdlog::level::info
                                       : spdlog::level::debug);
  });
  heddle::cli::add_run(app);
  heddle::cli::add_eval(app);
  heddle::cli::add_tokenize(app);
  heddle::cli::add_inspect(app);
  heddle::cli::add_bench(app);
  heddle::cli::add_explain(app);
  heddle::cli::add_methods(app);
  heddle::cli::add_judge(app);
  heddle::cli::add_promise(app);
  heddle::cli::add_completion(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    heddle::fail(heddle::ErrorCode::usage, "command line", "arguments as `heddle --help` shows", error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("heddle"));
  spdlog::set_pattern("%v");
  try {
    return run(argc, argv);
  } catch (const heddle::Error& error) {
    std::cerr << error.what() << std::endl;
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::cerr << "[memory] wanted room for the work; got none from the system; try a smaller size or fewer images"
              << std::endl;
    return static_cast<int>(heddle::ErrorCode::memory);
  } catch (const std::exception& error) {
    std::cerr << "[internal] wanted no surprise; got " << error.what() << std::endl;
    return static_cast<int>(heddle::ErrorCode::internal);
  }
}
