// Running a preset from the command line, shared by `run` and `bench preset`.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "pipelines/generate.h"

namespace heddle::cli {

struct RunRequest {
  std::string preset;
  std::vector<std::string> set;  // key=value
  std::string output;            // empty: the preset's
};

// Reads the preset, honours threads and memory budget, opens the model.
struct OpenRun {
  Preset preset;
  std::string path;
  std::unique_ptr<Model> model;
};
OpenRun open_run(const RunRequest& request);

void add_run_options(CLI::App& command, RunRequest& request);

}  // namespace heddle::cli
