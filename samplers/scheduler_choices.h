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
  dpm_singlestep,
  deis,
  unipc,
  dpm2,
  dpm2_ancestral,
  lcm,
  tcd,
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

// On alpha-bar of whole training timesteps.
constexpr bool walks_on_timesteps(Solver solver) {
  return solver == Solver::ddim || solver == Solver::ddpm || solver == Solver::pndm || solver == Solver::lcm ||
         solver == Solver::tcd;
}

// DPM-Solver and kin: exponential integrators in half-log-SNR or its like, on states with signal^2 + noise^2 = 1.
constexpr bool walks_on_log_snr(Solver solver) {
  return solver == Solver::dpm_multistep || solver == Solver::dpm_singlestep || solver == Solver::deis ||
         solver == Solver::unipc;
}

// DPM-Solver-2 in Karras et al.'s form: a second call of the network at the middle of a step, in log sigma.
constexpr bool looks_at_middle(Solver solver) {
  return solver == Solver::dpm2 || solver == Solver::dpm2_ancestral;
}

}  // namespace heddle
