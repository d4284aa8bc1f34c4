// Options that several subcommands share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "kernels/core/device.h"
#include "kernels/core/dtype.h"

namespace heddle::cli {

inline void add_dtype(CLI::App& command, std::string& dtype) {
  command.add_option("--dtype", dtype, "Compute in f32 (the reference) or bf16")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
}

inline void add_config(CLI::App& command, std::string& config) {
  command.add_option("--config", config,
                     "Of a component in a file: a folder whose config.json is used in place of what its tensors imply");
}

inline void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads; default OMP_NUM_THREADS or the number of cores")
      ->check(CLI::Range(1, 1024));
}

inline DType dtype_named(const std::string& name) {
  return name == "bf16" ? DType::bf16 : DType::f32;
}

}  // namespace heddle::cli
