// The choices that a scheduler_config.json makes.
#pragma once

#include <cstdint>

namespace heddle {

enum class Solver : uint8_t {
  ddim,
  ddpm,
  pndm,
  lms,
  euler,
  euler_ancestral,
  heun,
  dpm_multistep,
  unipc,
  lcm,
  rf2,
  fireflow
};
// flow: normal minus clean, the slope of the straight path between them; reverse_flow: its negative.
enum class Prediction : uint8_t { epsilon, v_prediction, sample, flow, reverse_flow };
enum class BetaSchedule : uint8_t { linear, scaled_linear, cosine, exponential, laplace, sigmoid };
enum class Spacing : uint8_t { linspace, leading, trailing };  // Lin et al. 2023, table 2
enum class SigmaSpacing : uint8_t { table, karras, exponential, beta, lu };
enum class CleanLimit : uint8_t { none, clamp, dynamic };  // what is done to the clean estimate
enum class DpmAlgorithm : uint8_t { dpmsolver, dpmsolver_pp, sde_dpmsolver, sde_dpmsolver_pp };

}  // namespace heddle
