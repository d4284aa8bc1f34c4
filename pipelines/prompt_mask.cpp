// The mask itself, and the answers that it is made of.
#include "pipelines/prompt_mask.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "io/preset_file.h"
#include "kernels/core/error.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "pipelines/generation.h"
#include "samplers/sampler.h"

namespace heddle {
namespace {

// Cells of one axis at most `by` away from a white one; `step` leads from cell to cell along it.
void spread(const std::vector<float>& mask, std::vector<float>& out, int64_t first, int64_t step, int64_t length,
            int64_t by) {
  for (int64_t i = 0; i < length; ++i) {
    if (mask[static_cast<size_t>(first + i * step)] == 0) continue;
    for (int64_t near = std::max<int64_t>(i - by, 0); near <= std::min(i + by, length - 1); ++near)
      out[static_cast<size_t>(first + near * step)] = 1;
  }
}

// White cells and those at most `by` rows and columns away from one: along the rows, then along the columns.
std::vector<float> grown(const std::vector<float>& mask, int64_t height, int64_t width, int64_t by) {
  std::vector<float> rows = mask;
  for (int64_t y = 0; y < height; ++y) spread(mask, rows, y * width, 1, width, by);
  std::vector<float> out = rows;
  for (int64_t x = 0; x < width; ++x) spread(rows, out, x, width, height, by);
  return out;
}

}  // namespace

Tensor prompt_mask(const Tensor& source, const Tensor& target, const PromptMaskSettings& settings) {
  const int64_t height = source.dim(2), width = source.dim(3);
  const std::vector<float> differences = absolute(subtract(target, source)).to_vector();
  std::vector<double> sums(static_cast<size_t>(height * width));
  for (size_t i = 0; i < differences.size(); ++i) sums[i % sums.size()] += differences[i];
  const double mean = std::reduce(sums.begin(), sums.end()) / static_cast<double>(sums.size());
  std::vector<float> mask(sums.size());
  std::ranges::transform(sums, mask.begin(),
                         [&](double sum) { return sum > mean * settings.thresholding_ratio / 2 ? 1.0f : 0.0f; });
  return Tensor::from(std::span<const float>(grown(mask, height, width, settings.grow)), {1, 1, height, width});
}

// The source's answers, and those of each prompt.
int Generation::mask_calls() const {
  return preset_.source->find_mask->maps * static_cast<int>(1 + pictures_ / preset_.images);
}

// One mask for each picture of the run, [n,1,h,w]. Without guidance: away from one negative prompt it multiplies the
// difference by a number, which the threshold divides out again. The noises are the seed's first ones, drawn apart, so
// that the run draws what it would draw beside a mask from a file.
Tensor Generation::found_mask(const Tensor& picture) {
  const PromptMaskSettings& settings = *preset_.source->find_mask;
  const std::unique_ptr<Generator> generator = run_generator();
  AttentionContext context;
  const LatentNormal normal = model_.vae().encode(picture, context);
  Shape shape = normal.mean.shape();
  shape[0] = settings.maps;
  const Tensor clean = model_.vae().to_denoiser(drawn_from(normal, generator->randn(shape)));
  const int index = begin_index(*schedule_, settings.strength);
  const Evaluation& at = schedule_->evaluations[static_cast<size_t>(index)];
  const Tensor noisy = network_input(*schedule_, add_noise(*schedule_, clean, generator->randn(shape), index), index);

  Preset plain;
  Control no_methods(plain);
  const auto answers = [&](const TextStates& text) {
    GuidedNetwork::Parts parts = parts_beside(text, {}, *preset_.sampler.guidance, 1);
    parts.guidance = {};
    GuidedNetwork network(std::move(parts), no_methods);
    std::vector<Tensor> out;
    for (const Tensor& one : split(noisy, 0, settings.maps)) {
      out.push_back(to(network.predict(one, at), DType::f32));
      prepared_one();
    }
    return concat(out, 0);
  };
  const Tensor source = answers(source_text_.cond);
  std::vector<Tensor> masks;
  bool finds = false;
  for (int64_t i = 0; i < pictures_; i += preset_.images) {
    const auto row = [&](const Tensor& all) { return all.defined() ? slice(all, 0, i, i + 1) : all; };
    const Tensor mask = prompt_mask(source, answers({row(cond_.text), row(cond_.text_embeds)}), settings);
    finds = finds || std::ranges::max(mask.to_vector()) > 0;
    masks.push_back(rows_of(mask, preset_.images));
  }
  if (!finds) {
    fail(ErrorCode::usage, "source.find_mask", "a prompt that the network answers otherwise than source.prompt",
         "no cell above the threshold", "another prompt, or a smaller thresholding_ratio");
  }
  return concat(masks, 0);
}

}  // namespace heddle
