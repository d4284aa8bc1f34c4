// Look-up and checks of scheduler keys.
#include "samplers/scheduler_keys.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

namespace heddle {
namespace {

using nlohmann::json;

// Every key that published files hold: each class reads its own and passes over the others'.
const std::vector<std::string> known_keys{"algorithm_type",
                                          "base_image_seq_len",
                                          "base_shift",
                                          "beta_end",
                                          "beta_schedule",
                                          "beta_start",
                                          "clip_sample",
                                          "clip_sample_range",
                                          "disable_corrector",
                                          "dynamic_thresholding_ratio",
                                          "eta",
                                          "euler_at_final",
                                          "final_sigmas_type",
                                          "flow_shift",
                                          "interpolation_type",
                                          "invert_sigmas",
                                          "lambda_min_clipped",
                                          "lower_order_final",
                                          "max_image_seq_len",
                                          "max_shift",
                                          "num_train_timesteps",
                                          "original_inference_steps",
                                          "predict_x0",
                                          "prediction_type",
                                          "rescale_betas_zero_snr",
                                          "rho",
                                          "sample_max_value",
                                          "set_alpha_to_one",
                                          "shift",
                                          "shift_terminal",
                                          "sigma_data",
                                          "sigma_max",
                                          "sigma_min",
                                          "sigma_schedule",
                                          "skip_prk_steps",
                                          "solver_order",
                                          "solver_p",
                                          "solver_type",
                                          "steps_offset",
                                          "stochastic_sampling",
                                          "tensor_format",
                                          "thresholding",
                                          "time_shift_type",
                                          "timestep_scaling",
                                          "timestep_spacing",
                                          "timestep_type",
                                          "timestep_values",
                                          "trained_betas",
                                          "use_beta_sigmas",
                                          "use_dynamic_shifting",
                                          "use_exponential_sigmas",
                                          "use_flow_sigmas",
                                          "use_karras_sigmas",
                                          "use_lu_lambdas",
                                          "variance_type"};

std::string short_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// Python writes infinities as bare words, which are no JSON: they become strings.
std::string quoted_infinities(std::string_view text) {
  constexpr std::string_view word = "-Infinity";
  std::string out;
  out.reserve(text.size() + 8);
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') inside = !inside;
    if (inside && text[i] == '\\' && i + 1 < text.size()) out += text[i++];
    if (!inside && text.substr(i, word.size()) == word) {
      out.append("\"").append(word).append("\"");
      i += word.size() - 1;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

// Arrays and objects are not written out: a hostile file may nest them deeper than a recursive printer can go.
std::string text_of(const json& value) {
  if (value.is_structured()) return std::string(value.type_name()) + " of " + std::to_string(value.size());
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json parse_scheduler_object(std::string_view text, std::string_view where) {
  json object = json::parse(quoted_infinities(text), nullptr, false);
  if (object.is_discarded()) fail(ErrorCode::input, where, "a JSON object", "malformed JSON");
  if (!object.is_object()) fail(ErrorCode::input, where, "a JSON object", text_of(object));
  return object;
}

void check_scheduler_keys(const json& object, ErrorCode code, std::string_view where) {
  for (const auto& [key, value] : object.items()) {
    if (key.starts_with("_") || std::ranges::find(known_keys, key) != known_keys.end()) continue;
    // A null says nothing; anything else might change the computation.
    if (!value.is_null())
      fail(code, where, "keys of a scheduler", key + ": " + text_of(value), nearest_word(key, known_keys));
  }
}

const json* SchedulerKeys::find(const char* key) const {
  for (const json* source : {&overrides_, &file_}) {
    const auto found = source->find(key);
    if (found != source->end()) return found->is_null() ? nullptr : &*found;
  }
  return nullptr;
}

void SchedulerKeys::refuse(const char* key, const std::string& wanted) const {
  const json* value = find(key);
  const bool over = overridden(key);
  fail(over ? ErrorCode::usage : ErrorCode::input, over ? "sampler" : where_, std::string(key) + ": " + wanted,
       value == nullptr ? "nothing" : text_of(*value));
}

bool SchedulerKeys::flag(const char* key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

double SchedulerKeys::number(const char* key, double fallback, double low, double high) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  double result = std::nan("");
  if (value->is_number()) result = value->get<double>();
  if (*value == "-Infinity") result = -std::numeric_limits<double>::infinity();
  if (!(result >= low && result <= high)) refuse(key, "a number from " + short_text(low) + " to " + short_text(high));
  return result;
}

int64_t SchedulerKeys::integer(const char* key, int64_t fallback, int64_t low, int64_t high) const {
  const double value = number(key, static_cast<double>(fallback), static_cast<double>(low), static_cast<double>(high));
  if (value != std::floor(value)) refuse(key, "a whole number");
  return static_cast<int64_t>(value);
}

SigmaSpacing read_sigma_spacing(const SchedulerKeys& keys) {
  const std::pair<const char*, SigmaSpacing> flags[] = {{"use_karras_sigmas", SigmaSpacing::karras},
                                                        {"use_exponential_sigmas", SigmaSpacing::exponential},
                                                        {"use_beta_sigmas", SigmaSpacing::beta}};
  SigmaSpacing chosen = SigmaSpacing::table;
  for (const auto& [key, spacing] : flags) {
    if (!keys.flag(key, false)) continue;
    if (chosen != SigmaSpacing::table) keys.refuse(key, "one of " + listed(flags) + " at most");
    chosen = spacing;
  }
  return chosen;
}

}  // namespace heddle
