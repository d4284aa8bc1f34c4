// The reference in plain ops against the double-precision oracle, and the fused kernel against the reference.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/core/error.h"
#include "kernels/core/tape.h"
#include "kernels/ops/attention_columns.h"
#include "kernels/ops/attention_reference.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/view.h"
#include "tests/kernels/ops/attention_check.h"
#include "tests/kernels/ops/attention_terms.h"

namespace heddle {
namespace {

using testing::Array;
using testing::AttentionArrays;
using testing::AttentionCase;
using testing::expect_close;

void check_reference(const AttentionCase& test, DType dtype) {
  const std::vector<Array> qkv = testing::inputs_of(test, dtype);
  const AttentionArrays want = attention_forward(test, qkv);
  Tape tape;
  std::vector<Tensor> x;
  for (const Array& a : qkv) x.push_back(tape.watch(testing::to_tensor(a, dtype)));
  const ReferenceResult got = attention_reference(x[0], x[1], x[2], options_of(test));
  const double rounding = dtype == DType::f32 ? 4e-6 : 8e-3;
  expect_close(test, "out", dtype, testing::to_array(got.out), want.out, rounding);
  expect_close(test, "lse", dtype, testing::to_array(got.lse), want.lse, 4e-6);
  expect_close(test, "map", dtype, testing::to_array(got.map), attention_map(test, qkv), 4e-6);
  const Tensor d_out = testing::to_tensor({want.out.shape, testing::normals(8, want.out.shape.count())}, dtype);
  const Tensor d_lse = testing::to_tensor({want.lse.shape, testing::normals(9, want.lse.shape.count())}, DType::f32);
  const std::vector<Tensor> ys{got.out, got.lse}, cs{d_out, d_lse}, back = tape.gradients(ys, cs, x);
  const std::vector<Array> want_back =
      attention_backward(test, qkv, {testing::to_array(d_out), testing::to_array(d_lse)});
  for (int i = 0; i < 3; ++i) expect_close(test, "vjp", dtype, testing::to_array(back[i]), want_back[i], 2 * rounding);
}

TEST(AttentionReference, EqualsTheOracle) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool causal : {false, true}) {
      AttentionCase test{
          .batch = 2, .heads = 3, .queries = 21, .keys = 17, .dim = 12, .value_dim = 5, .causal = causal};
      check_reference(test, dtype);
      test.terms = {testing::labels(test, 3, {2, 2, 3, 21}, 0.3), testing::per_key(test, {1, 3})};
      check_reference(test, dtype);
      test.terms = {testing::labels(test, 3, {2, 1, 1, 21}, 0.6),
                    testing::dense(test, {2, 1}, 0.4)};  // rows without keys
      check_reference(test, dtype);
      test.terms = {testing::labels(test, 3, {1, 2, 1, 1}, 0.3)};
      check_reference(test, dtype);
    }
  }
}

// Columns of the fused kernel are columns of the reference's map, and so are their gradients.
TEST(AttentionReference, ColumnsAreTheMaps) {
  AttentionCase test{.batch = 2, .heads = 2, .queries = 70, .keys = 30, .dim = 40, .value_dim = 8};
  test.terms = {testing::labels(test, 3, {1, 1, 2, 70}, 0.2)};
  const std::vector<Array> qkv = testing::inputs_of(test, DType::f32);
  Tape tape;
  std::vector<Tensor> x;
  for (const Array& a : qkv) x.push_back(tape.watch(testing::to_tensor(a, DType::f32)));
  const AttentionOptions options = options_of(test);
  const Tensor fused =
      attention_columns(x[0], x[1], attention(x[0], x[1], x[2], options).lse, {{3, 20}, false}, options);
  const Tensor plain = gather(attention_reference(x[0], x[1], x[2], options).map, 3, std::vector<int64_t>{3, 20});
  expect_close(test, "columns", DType::f32, testing::to_array(fused), testing::to_array(plain), 4e-6);
  const Tensor cotangent = testing::to_tensor({plain.shape(), testing::normals(8, plain.count())}, DType::f32);
  for (int i = 0; i < 2; ++i) {
    const Tensor want = tape.gradient(plain, x[i], cotangent, Tape::Graph::keep);
    const Tensor got = tape.gradient(fused, x[i], cotangent, Tape::Graph::keep);
    expect_close(test, "vjp", DType::f32, testing::to_array(got), testing::to_array(want), 4e-6);
  }
}

}  // namespace
}  // namespace heddle
