// JSON read with bounds; typed getters whose errors name the file and the key: "[unet/config.json in_channels] ...".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace heddle {

// A handle on one value of a document. T of the getters: bool, int, int64_t, double, std::string, Json and vectors of
// these. A whole number is a double too, never the reverse. Every failure is Error(input).
class Json {
 public:
  // At most 64 levels; duplicate keys are refused. NaN, Infinity and -Infinity are read, as Python writes them.
  static Json parse(std::string_view text, const std::string& where);
  static Json read(const std::string& path, int64_t limit = int64_t{64} << 20);

  const std::string& where() const { return where_; }
  const nlohmann::json& node() const { return *node_; }
  bool is_object() const;
  bool is_array() const;
  // Objects. has() is false for null, which every getter takes as "not given".
  bool has(std::string_view key) const;
  std::vector<std::string> keys() const;
  template <typename T>
  T get(std::string_view key) const {
    return required(key).template as<T>();
  }
  template <typename T>
  T get_or(std::string_view key, T fallback) const {
    return has(key) ? get<T>(key) : fallback;
  }
  // Of exactly `count`: one value for all, or a list.
  template <typename T>
  std::vector<T> each(std::string_view key, size_t count) const {
    const Json value = counted(key, count);
    return value.is_array() ? value.as<std::vector<T>>() : std::vector<T>(count, value.as<T>());
  }
  template <typename T>
  std::vector<T> each_or(std::string_view key, size_t count, T fallback) const {
    return has(key) ? each<T>(key, count) : std::vector<T>(count, fallback);
  }
  // Any other key is an error that names the nearest known one. Keys that begin with "_" are always known.
  void require_known(std::initializer_list<std::string_view> known) const;
  size_t size() const;  // of an array
  Json operator[](size_t index) const;
  template <typename T>
  T as() const {
    T out{};
    read(out);
    return out;
  }
  [[noreturn]] void fail_type(std::string_view wanted) const;  // the error of a value of another kind

 private:
  Json() = default;
  Json(std::shared_ptr<const nlohmann::json> node, std::string where)
      : node_(std::move(node)), where_(std::move(where)) {}
  Json required(std::string_view key) const;
  Json counted(std::string_view key, size_t count) const;  // where it is a list, it has that length
  void read(Json& out) const { out = *this; }
  void read(bool& out) const;
  void read(int& out) const;
  void read(int64_t& out) const;
  void read(double& out) const;
  void read(std::string& out) const;
  template <typename T>
  void read(std::vector<T>& out) const {
    for (size_t i = 0; i < size(); ++i) out.push_back((*this)[i].as<T>());
  }

  std::shared_ptr<const nlohmann::json> node_;  // aliases the document's owner
  std::string where_;
};

}  // namespace heddle
