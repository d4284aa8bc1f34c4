// Bodies of Params<T>; included by io/params.h only.
#pragma once

namespace heddle {

// The checks that need no type: that this is a map, that each key is known, that none is missing. Returns, for each
// parameter, its node or null where it is not given.
std::vector<const YamlNode*> match_params(const YamlNode& map, const std::vector<const ParamInfo*>& infos);

template <typename T>
void Params<T>::read(const YamlNode& map, T& out) const {
  std::vector<const ParamInfo*> infos;
  for (const Param<T>& param : list_) infos.push_back(&param.info);
  const std::vector<const YamlNode*> nodes = match_params(map, infos);
  for (size_t i = 0; i < list_.size(); ++i) {
    if (nodes[i] != nullptr) list_[i].read(*nodes[i], out);
  }
}

template <typename T>
YamlNode Params<T>::write(const T& value) const {
  YamlNode map;
  map.kind = YamlNode::Kind::map;
  for (const Param<T>& param : list_) {
    YamlNode node = param.write(value);
    if (node.kind != YamlNode::Kind::none) map.add(param.info.name, std::move(node));
  }
  return map;
}

template <typename T>
std::vector<ParamInfo> Params<T>::describe() const {
  std::vector<ParamInfo> infos;
  const T fresh{};
  for (const Param<T>& param : list_) {
    infos.push_back(param.info);
    const YamlNode initial = param.write(fresh);
    if (!param.info.required && initial.kind != YamlNode::Kind::none && param.info.inner.empty())
      infos.back().initial = yaml_to_json(initial);
  }
  return infos;
}

// A struct that declares its own parameters.
template <typename T>
requires requires {
  T::params();
}
struct ParamType<T> {
  static std::string name() { return "map"; }
  static std::vector<ParamInfo> inner() { return T::params().describe(); }
  static void read(const YamlNode& node, const Limits&, T& out) { T::params().read(node, out); }
  static YamlNode write(const T& value) { return T::params().write(value); }
};

}  // namespace heddle
