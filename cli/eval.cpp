// heddle eval: one component on named tensors.
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "io/safetensors.h"
#include "pipelines/component.h"

namespace heddle::cli {

void add_eval(CLI::App& app) {
  struct Arguments {
    std::string component, config, inputs, output, dtype = "f32";
    int threads = 0;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("eval", "Run one component on named tensors, to compare it with the Python original");
  command
      ->add_option("--component", a->component,
                   "Folder with config.json and weights (unet/, vae/, text_encoder/ ...), a file that holds one "
                   "component, or FILE/unet of a file that holds a model")
      ->required();
  add_config(*command, a->config);
  command
      ->add_option("--inputs", a->inputs,
                   "safetensors file with the inputs by name; a tensor `cotangent` asks for the gradient")
      ->required();
  command->add_option("--output", a->output, "safetensors file to write")->required();
  add_dtype(*command, a->dtype);
  add_threads(*command, a->threads);
  command->footer(
      "inputs and outputs by class (pictures are [batch, channels, height, width]):\n"
      "  UNet2DConditionModel   sample, timestep, encoder_hidden_states [, text_embeds, time_ids, class_labels,\n"
      "                         timestep_cond] -> sample\n"
      "  SD3Transformer2DModel  hidden_states, encoder_hidden_states, pooled_projections, timestep [, skip_layers]\n"
      "                         -> sample\n"
      "  FluxTransformer2DModel hidden_states (packed tokens), encoder_hidden_states, pooled_projections, timestep\n"
      "                         (0 to 1), img_ids, txt_ids [, guidance] -> sample\n"
      "  AutoencoderKL          sample -> latent_mean, latent_logvar; or latent -> sample\n"
      "  CLIPTextModel          input_ids -> last_hidden_state, pooler_output, penultimate\n"
      "  CLIPTextModelWithProjection  input_ids -> last_hidden_state, text_embeds, penultimate\n"
      "  T5EncoderModel, UMT5EncoderModel  input_ids or inputs_embeds [, attention_mask] -> last_hidden_state\n"
      "with a tensor cotangent, shaped as the first output, the reply also holds vjp.<first input>\n\n"
      "example:\n  heddle eval --component sd15/unet --inputs in.safetensors --output out.safetensors");
  command->callback([a] {
    set_threads(a->threads);
    const auto component = Component::load(a->component, dtype_named(a->dtype), a->config);
    write_safetensors(a->output, component->run(read_safetensors(a->inputs)));
  });
}

}  // namespace heddle::cli
