// Parameters declared once: name, member, limits, one sentence of help. YAML checks, `--set`, help and docs derive from
// it.
//   struct Pull { float weight = 1.5f;
//     static auto params() { return Params<Pull>{opt("weight", &Pull::weight, range(0, 10), "length of the step")}; }
//     };
//   Pull pull = read_params<Pull>(node);
#pragma once

#include "io/param.h"

namespace heddle {

template <typename T>
class Params {
 public:
  Params(std::initializer_list<Param<T>> list) : list_(list) {}
  template <typename Base>
  Params& include(const Params<Base>& base) {
    for (const Param<Base>& param : base.list()) list_.emplace_back(param);
    return *this;
  }

  const std::vector<Param<T>>& list() const { return list_; }
  std::vector<ParamInfo> describe() const;  // with the initial values of a fresh T

  // Error(usage) for a key that is unknown, missing, of the wrong type or out of its limits.
  void read(const YamlNode& map, T& out) const;
  YamlNode write(const T& value) const;  // leaves out what was not given

 private:
  std::vector<Param<T>> list_;
};

template <typename Owner, typename V>
Param<Owner> declare_param(const char* name, V Owner::*member, const Limits& limits, const char* help, bool required) {
  ParamInfo info{name, ParamType<V>::name(), limits.text(), "", help, required, ParamType<V>::inner()};
  return {info, [=](const YamlNode& node, Owner& out) { ParamType<V>::read(node, limits, out.*member); },
          [=](const Owner& from) { return ParamType<V>::write(from.*member); }};
}

template <typename Owner, typename V>
Param<Owner> need(const char* name, V Owner::*member, const Limits& limits, const char* help) {
  return declare_param(name, member, limits, help, true);
}
template <typename Owner, typename V>
Param<Owner> need(const char* name, V Owner::*member, const char* help) {
  return declare_param(name, member, {}, help, true);
}
template <typename Owner, typename V>
Param<Owner> opt(const char* name, V Owner::*member, const Limits& limits, const char* help) {
  return declare_param(name, member, limits, help, false);
}
template <typename Owner, typename V>
Param<Owner> opt(const char* name, V Owner::*member, const char* help) {
  return declare_param(name, member, {}, help, false);
}

template <typename T>
T read_params(const YamlNode& map) {
  T out;
  T::params().read(map, out);
  return out;
}

// A markdown table, one row for each key; keys inside maps are written with dots.
std::string params_table(const std::vector<ParamInfo>& infos);

}  // namespace heddle

#include "io/params_impl.h"  // IWYU pragma: keep
