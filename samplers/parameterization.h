// Adapters between what a network predicts and what solvers use: the clean estimate, and the noise.
#pragma once

#include "kernels/core/tensor.h"
#include "samplers/schedule.h"

namespace heddle {

// `output` is the network's answer, `x` the state at `level`; all f32 of one shape. With r^2 = signal^2 + noise^2:
// epsilon is the normal n of x = signal * clean + noise * n; v_prediction is (signal * n - noise * clean) / r (Salimans
// & Ho 2022, section 4); sample is the clean picture; flow is n - clean, reverse_flow clean - n, where signal + noise
// is 1 (Liu et al. 2022, "Flow Straight and Fast").
Tensor clean_estimate(Prediction prediction, const Tensor& output, const Tensor& x, Level level);
Tensor noise_estimate(Prediction prediction, const Tensor& output, const Tensor& x, Level level);

// The clean estimate of EDM's networks (Karras et al. 2022, table 1): x and the answer weighed by sigma against
// sigma_data; v_prediction takes the answer's negative.
Tensor preconditioned(const SchedulerConfig& config, const Tensor& output, const Tensor& x, double sigma);

// dx / dsigma of a flow, from a network that predicts it; Error(internal) for other predictions.
Tensor velocity(Prediction prediction, const Tensor& output);

// The config's limit on clean estimates: clamped to clip_sample_range, or dynamic thresholding for each picture (axis
// 0; Saharia et al. 2022, section 2.3), or as it is.
Tensor limited(const Tensor& clean, const SchedulerConfig& config);

}  // namespace heddle
