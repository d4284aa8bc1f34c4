// Reads and checks config.json of a T5 encoder.
#include "encoders/config_keys.h"
#include "encoders/text_t5.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

// True for UMT5's encoder.
bool read_class(const Json& json) {
  const auto type = json.get_or<std::string>("model_type", "t5");
  if (type != "t5" && type != "umt5") fail(ErrorCode::input, json.where() + " model_type", "t5 or umt5", type);
  if (!json.has("architectures")) return type == "umt5";
  const Json names = json.get<Json>("architectures");
  const std::string name = names.is_array() && names.size() == 1 ? names[0].as<std::string>() : "several";
  if (name == "T5EncoderModel") return false;
  if (name == "UMT5EncoderModel") return true;
  fail(ErrorCode::input, names.where(), "T5EncoderModel or UMT5EncoderModel", name);
}

// "relu", "gated-gelu": the activation, and whether its result multiplies a second projection. The gated GELU is the
// tanh form, whatever its name says.
void read_feed_forward(const Json& json, T5TextConfig& c) {
  const std::string where = json.where() + " feed_forward_proj";
  std::string name = json.get_or<std::string>("feed_forward_proj", c.bias_in_each_layer ? "gated-gelu" : "relu");
  c.gated = name.starts_with("gated-");
  if (name == "gated-gelu") {
    c.act = Activation::gelu_tanh;
  } else {
    c.act = activation_named(c.gated ? name.substr(6) : name, where);
  }
}

}  // namespace

T5TextConfig T5TextConfig::from(const Json& json) {
  // dense_act_fn and is_gated_act repeat what feed_forward_proj says; the rest belongs to the decoder and to training.
  require_known_keys(json,
                     {"vocab_size",
                      "d_model",
                      "d_kv",
                      "d_ff",
                      "num_layers",
                      "num_heads",
                      "relative_attention_num_buckets",
                      "relative_attention_max_distance",
                      "feed_forward_proj",
                      "layer_norm_epsilon",
                      "eos_token_id",
                      "dense_act_fn",
                      "is_gated_act",
                      "num_decoder_layers",
                      "dropout_rate",
                      "classifier_dropout",
                      "n_positions",
                      "output_past",
                      "scalable_attention",
                      "scale_decoder_outputs"},
                     transformers_bookkeeping());
  T5TextConfig c;
  c.bias_in_each_layer = read_class(json);
  const auto count = [&](const char* key, int64_t fallback, int64_t most) {
    return bounded_count(json, key, fallback, {1, most});
  };
  c.vocabulary = count("vocab_size", c.bias_in_each_layer ? 250112 : 32128, 1 << 24);
  c.width = count("d_model", 512, 1 << 16);
  c.inner = count("d_ff", c.bias_in_each_layer ? 1024 : 2048, 1 << 18);
  c.layers = count("num_layers", c.bias_in_each_layer ? 8 : 6, 1024);
  c.heads = count("num_heads", c.bias_in_each_layer ? 6 : 8, 1 << 12);
  c.head_dim = count("d_kv", 64, 1 << 12);
  c.buckets = bounded_count(json, "relative_attention_num_buckets", 32, {4, 1 << 16});
  c.farthest = bounded_count(json, "relative_attention_max_distance", 128, {c.buckets / 4 + 1, 1 << 30});
  c.eps = json.get_or<double>("layer_norm_epsilon", 1e-6);
  read_feed_forward(json, c);
  if (json.get_or<bool>("is_decoder", false))
    fail(ErrorCode::input, json.where() + " is_decoder", "an encoder: false", "true");
  return c;
}

}  // namespace heddle
