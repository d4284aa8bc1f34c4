// The methods of this build. A plugin file declares its method once, with REGISTER_METHOD; checks of presets, help, the
// JSON schema and `heddle methods` follow from that.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attention_control/plan/builder.h"
#include "io/params.h"

namespace heddle {

struct MethodInfo {
  std::string name;     // the published name, as presets write it
  std::string summary;  // one sentence for users
  std::string source;   // paper and original
  std::function<std::vector<ParamInfo>()> params;
  std::function<std::unique_ptr<Method>(const YamlNode& settings)> make;  // Error(usage) as the parameters say
  std::function<YamlNode(const YamlNode& settings)> resolved;             // every parameter with the value it gets
};

// Sorted by name.
const std::vector<MethodInfo>& methods();
std::vector<std::string> method_names();
// Error(usage) naming the nearest method.
const MethodInfo& method_named(const std::string& name, const std::string& where);

// A method as a preset asks for it. `over:` is every method's key: whose exclusive claims give way.
struct AskedMethod {
  std::string name, where, over;
  std::unique_ptr<Method> method;
};
AskedMethod make_method(const std::string& name, const YamlNode& settings);

bool register_method(MethodInfo info);

template <typename M>
bool register_method(const char* name, const char* summary, const char* source) {
  return register_method({name, summary, source, [] { return M::params().describe(); },
                          [](const YamlNode& settings) -> std::unique_ptr<Method> {
                            auto method = std::make_unique<M>();
                            M::params().read(settings, *method);
                            return method;
                          },
                          [](const YamlNode& settings) {
                            M method;
                            M::params().read(settings, method);
                            return M::params().write(method);
                          }});
}

#define REGISTER_METHOD(name, type, summary, source) \
  const bool registered_##name = register_method<type>(#name, summary, source)

}  // namespace heddle
