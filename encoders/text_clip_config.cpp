// Reads and checks config.json of a CLIP text encoder.
#include "encoders/config_keys.h"
#include "encoders/text_clip.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

bool read_class(const Json& json) {
  if (!json.has("architectures")) return false;
  const Json names = json.get<Json>("architectures");
  const std::string name = names.is_array() && names.size() == 1 ? names[0].as<std::string>() : "several";
  if (name == "CLIPTextModelWithProjection") return true;
  if (name == "CLIPTextModel") return false;
  fail(ErrorCode::input, names.where(), "CLIPTextModel or CLIPTextModelWithProjection", name);
}

}  // namespace

ClipTextConfig ClipTextConfig::from(const Json& json) {
  require_known_keys(json,
                     {"vocab_size", "hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers",
                      "num_attention_heads", "max_position_embeddings", "hidden_act", "layer_norm_eps", "eos_token_id"},
                     transformers_bookkeeping());
  const auto count = [&](const char* key, int64_t fallback, int64_t most) {
    return bounded_count(json, key, fallback, {1, most});
  };
  ClipTextConfig c;
  c.projects = read_class(json);
  c.vocabulary = count("vocab_size", 49408, 1 << 24);
  c.width = count("hidden_size", 512, 1 << 16);
  c.inner = count("intermediate_size", 2048, 1 << 18);
  c.projection = count("projection_dim", 512, 1 << 16);
  c.layers = count("num_hidden_layers", 12, 1024);
  c.heads = count("num_attention_heads", 8, 1 << 12);
  c.positions = count("max_position_embeddings", 77, 1 << 20);
  c.eos = json.get_or<int64_t>("eos_token_id", 49407);
  c.eps = json.get_or<double>("layer_norm_eps", 1e-5);
  c.act = activation_named(json.get_or<std::string>("hidden_act", "quick_gelu"), json.where() + " hidden_act");
  if (c.width % c.heads != 0) {
    fail(ErrorCode::input, json.where() + " num_attention_heads", "a divisor of hidden_size " + std::to_string(c.width),
         std::to_string(c.heads));
  }
  if (const auto type = json.get_or<std::string>("model_type", "clip_text_model"); type != "clip_text_model") {
    fail(ErrorCode::input, json.where() + " model_type", "clip_text_model", type);
  }
  return c;
}

}  // namespace heddle
