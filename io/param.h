// One parameter: what help says about it, and how it goes in and out of a struct.
#pragma once

#include <functional>

#include "io/param_types.h"

namespace heddle {

// What help and docs say about one parameter; `inner` where it is a map or a list of maps.
struct ParamInfo {
  std::string name, type, limits, initial, help;
  bool required = false;
  std::vector<ParamInfo> inner;
};

template <typename T>
struct Param {
  ParamInfo info;
  std::function<void(const YamlNode&, T&)> read;
  std::function<YamlNode(const T&)> write;

  Param(ParamInfo info, std::function<void(const YamlNode&, T&)> read, std::function<YamlNode(const T&)> write)
      : info(std::move(info)), read(std::move(read)), write(std::move(write)) {}
  // A parameter of a base is one of the derived.
  template <typename Base>
  requires(std::is_base_of_v<Base, T> && !std::is_same_v<Base, T>)
      Param(const Param<Base>& base)  // NOLINT(google-explicit-constructor)
      : info(base.info), read(base.read), write(base.write) {}
};

}  // namespace heddle
