// Inversion with a network of its own, so that methods of the edit have no part in it.
#include "pipelines/inversion.h"

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {

std::vector<Tensor> invert_picture(GuidedNetwork::Parts parts, const Tensor& clean, const InversionSettings& settings,
                                   const std::function<void(int done, int steps)>& on_step) {
  Control none{Preset{}};
  const Schedule& schedule = parts.schedule;
  GuidedNetwork network(std::move(parts), none);
  const Denoise denoise = [&](const Tensor& x, const Evaluation& at) { return network.predict(x, at, Pass::invert); };
  return invert(denoise, clean,
                {.schedule = schedule,
                 .method = static_cast<Inversion>(settings.method),
                 .iterations = settings.iterations,
                 .on_step = on_step});
}

void save_inversion(const std::string& path, const std::vector<Tensor>& states) {
  write_safetensors(path, {{"latents", states.front()}, {"trajectory", concat(states, 0)}});
}

std::vector<Tensor> load_inversion(const std::string& path, int64_t steps, const Shape& shape) {
  const TensorMap tensors = read_safetensors(path);
  const auto found = tensors.find("trajectory");
  const Shape wanted{steps + 1, shape[1], shape[2], shape[3]};
  if (found == tensors.end() || !(found->second.shape() == wanted)) {
    fail(ErrorCode::input, path, "a tensor trajectory " + wanted.text(),
         found == tensors.end() ? "none" : found->second.shape().text(), "the steps and size that it was saved with");
  }
  return split(to(found->second, DType::f32), 0, steps + 1);
}

}  // namespace heddle
