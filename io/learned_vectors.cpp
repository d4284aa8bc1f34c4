// Which tensors a file of textual inversion has.
#include "io/learned_vectors.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/ops/view.h"

namespace heddle {
namespace {

constexpr int64_t most_vectors = 1024;  // a window of CLIP holds 75
constexpr size_t longest_word = 256;

LearnedVectors vectors_of(const SafetensorsFile& file, const std::string& name) {
  const std::string where = file.path() + " " + name;
  const Shape& shape = file.entries().at(name).shape;
  const bool fits = (shape.rank() == 1 || shape.rank() == 2) && shape.count() > 0;
  if (!fits || (shape.rank() == 2 && shape[0] > most_vectors))
    fail(ErrorCode::input, where, "1 to " + std::to_string(most_vectors) + " vectors [n,width]", shape.text());
  const Tensor stored = file.read(name);
  if (stored.dtype() == DType::i64) fail(ErrorCode::input, where, "numbers with fractions", "whole ones");
  const Tensor read = to(contiguous(stored), DType::f32);
  const Tensor vectors = reshape(read, {shape.count() / shape.back(), shape.back()});
  if (!std::ranges::all_of(vectors.to_vector(), [](float x) { return std::isfinite(x); }))
    fail(ErrorCode::input, where, "finite numbers", "infinities or NaN", "another copy of the file");
  return {where, vectors};
}

void check_word(const std::string& word, const std::string& where) {
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  if (word.empty() || word.size() > longest_word || std::ranges::any_of(word, space))
    fail(ErrorCode::input, where, "a word without spaces, of at most " + std::to_string(longest_word) + " bytes",
         "\"" + word.substr(0, longest_word) + "\"", "token: with a word for prompts");
}

}  // namespace

LearnedWord read_learned_word(const std::string& path, const std::string& word) {
  const SafetensorsFile file(path);
  const auto& entries = file.entries();
  LearnedWord out{.word = word};
  std::string stated;
  for (const auto& [name, entry] : entries) {
    if (name == "clip_l")
      out.clip_l = vectors_of(file, name);
    else if (name == "clip_g")
      out.clip_g = vectors_of(file, name);
    else if (entries.size() == 1)
      out.any = vectors_of(file, name), stated = name == "emb_params" ? "" : name;
    else
      fail(ErrorCode::input, path, "a file of textual inversion: one tensor, or clip_l and clip_g",
           "the tensor \"" + name + "\" among " + std::to_string(entries.size()));
  }
  if (entries.empty()) fail(ErrorCode::input, path, "a file of textual inversion", "a file without tensors");
  if (out.word.empty()) out.word = stated.empty() ? std::filesystem::path(path).stem().string() : stated;
  check_word(out.word, path);
  return out;
}

}  // namespace heddle
