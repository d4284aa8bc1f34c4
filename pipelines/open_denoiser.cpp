// One function for each kind of network.
#include "pipelines/open_denoiser.h"

#include "unet_dit/flux.h"
#include "unet_dit/sd3.h"
#include "unet_dit/unet.h"

namespace heddle {
namespace {

OpenDenoiser open_unet(const ComponentSource& from, DType compute, const PartLoras& loras) {
  auto network = load_component<UNet, UNetConfig>(from, compute, loras);
  const UNetConfig& c = network->config();
  const DenoiserTraits traits{.in_channels = c.in_channels,
                              .text_width = c.cross_dim.empty() ? 0 : c.cross_dim.front(),
                              .guidance_dim = c.time_cond_dim,
                              .pooled = c.text_time,
                              .time_ids = c.text_time};
  return {std::move(network), traits};
}

OpenDenoiser open_sd3(const ComponentSource& from, DType compute, const PartLoras& loras) {
  auto network = load_component<SD3Transformer, SD3Config>(from, compute, loras);
  const SD3Config& c = network->config();
  const DenoiserTraits traits{.in_channels = c.in_channels,
                              .text_width = c.joint_attention_dim,
                              .patch = c.patch_size,
                              .blocks = c.num_layers,
                              .pooled = true};
  return {std::move(network), traits};
}

OpenDenoiser open_flux(const ComponentSource& from, DType compute, const PartLoras& loras) {
  auto network = load_component<FluxTransformer, FluxConfig>(from, compute, loras);
  const FluxConfig& c = network->config();
  const DenoiserTraits traits{.in_channels = c.in_channels / 4,
                              .text_width = c.joint_attention_dim,
                              .patch = 2,
                              .guidance_scale = c.guidance_embeds,
                              .pooled = true};
  return {std::move(network), traits};
}

}  // namespace

OpenDenoiser open_denoiser(const ComponentSource& from, Family family, DType compute, const PartLoras& loras) {
  if (family == Family::sd3) return open_sd3(from, compute, loras);
  if (family == Family::flux) return open_flux(from, compute, loras);
  return open_unet(from, compute, loras);
}

}  // namespace heddle
