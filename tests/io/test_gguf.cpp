// GGUF files: every type that is read, bit for bit; and files broken in every way, each of which must end in one error.
#include "io/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

#include "io/checkpoint/checkpoint_file.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "kernels/core/error.h"
#include "kernels/core/memory.h"
#include "tests/io/temporary.h"

namespace heddle {
namespace {

const std::string fixtures = std::string(HEDDLE_FIXTURES) + "/gguf/";

TEST(Gguf, NumbersAreThoseOfTheReference) {
  const GgufFile file(fixtures + "blocks.gguf");
  const TensorMap expected = read_safetensors(fixtures + "blocks.safetensors");
  EXPECT_EQ(expected.size(), 14u);
  EXPECT_EQ(file.architecture(), "test");
  for (const auto& [name, want] : expected) {
    EXPECT_EQ(file.shapes().at(name), want.shape()) << name;
    EXPECT_EQ(file.read(name).to_vector(), want.to_vector()) << name;
    const bool plain = name == "F32" || name == "F16" || name == "BF16";
    ASSERT_EQ(file.quantized(name).has_value(), !plain) << name;
    if (!plain) {
      EXPECT_EQ(file.quantized(name)->numbers().to_vector(), want.to_vector()) << name;
    }
  }
}

// A header as its author would write it, piece by piece.
class Header {
 public:
  template <typename T>
  Header& number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Header& text(const std::string& text) {
    number<uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  Header& begin(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    bytes_ = "GGUF";
    return number(version).number(tensors).number(keys);
  }
  Header& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    text(name).number<uint32_t>(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) number(dim);
    return number(type).number(offset);
  }
  std::string with_data(size_t size, size_t alignment = 32) const {
    std::string out = bytes_;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + std::string(size, '\1');
  }

 private:
  std::string bytes_;
};

class BrokenGguf : public ::testing::Test {
 protected:
  void SetUp() override { set_memory_budget(memory_stats().in_use + (int64_t{64} << 20)); }
  void TearDown() override { set_memory_budget(0); }

  // The error that reading everything ends in; empty for none.
  std::string error_of(const std::string& bytes) {
    const std::string path = folder_.write("broken.gguf", bytes);
    try {
      const GgufFile file(path);
      for (const auto& [name, shape] : file.shapes()) file.read(name);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
      return error.what();
    }
  }
  void expect_error(const std::string& bytes, const std::string& word) {
    const std::string got = error_of(bytes);
    EXPECT_NE(got.find(word), std::string::npos) << "wanted " << word << ", got " << got;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(BrokenGguf, EachFieldIsChecked) {
  const uint64_t huge = uint64_t{1} << 63;
  EXPECT_EQ(error_of(Header().begin(1, 0).tensor("a", {4, 2}, 0, 0).with_data(32)), "");
  expect_error("", "GGUF file");
  expect_error("GGUX", "GGUF file");
  expect_error("GGUF", "4 bytes of header");
  expect_error(Header().begin(0, 0, 1).with_data(0), "version 2 or 3");
  expect_error(Header().begin(0, 0, 0x03000000).with_data(0), "version 2 or 3");
  expect_error(Header().begin(huge, 0).with_data(0), "at most 2^20 tensors");
  expect_error(Header().begin(1, 0).with_data(0), "of header");
  expect_error(Header().begin(0, huge).with_data(0), "of header");
  expect_error(Header().begin(0, 1).number(huge).with_data(0), "a text of at most 65535 bytes");
  expect_error(Header().begin(0, 1).text("k").number<uint32_t>(13).with_data(0), "types of GGUF");
  expect_error(Header().begin(0, 1).text("k").number<uint32_t>(8).number(huge).with_data(0), "of header");
  expect_error(Header().begin(0, 1).text("k").number<uint32_t>(9).number<uint32_t>(10).number(huge).with_data(0),
               "of header");
  expect_error(Header().begin(0, 1).text("k").number<uint32_t>(9).number<uint32_t>(8).number(huge).with_data(64),
               "of header");
  Header deep;
  deep.begin(0, 1).text("k").number<uint32_t>(9);
  for (int i = 0; i < 6; ++i) deep.number<uint32_t>(9).number<uint64_t>(1);
  expect_error(deep.with_data(64), "lists in lists");
  Header twice;
  for (twice.begin(0, 2); twice.with_data(0).size() < 100;) twice.text("k").number<uint32_t>(4).number<uint32_t>(1);
  expect_error(twice.with_data(0), "each key once");
  for (const uint32_t alignment : {0u, 3u, 1u << 20}) {
    expect_error(Header().begin(0, 1).text("general.alignment").number<uint32_t>(4).number(alignment).with_data(0),
                 "a power of two");
  }
}

TEST_F(BrokenGguf, EachTensorIsChecked) {
  const auto one = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset, size_t data = 64) {
    return Header().begin(1, 0).tensor("a", dims, type, offset).with_data(data);
  };
  const uint64_t huge = uint64_t{1} << 63;
  EXPECT_EQ(error_of(one({32, 1}, 8, 0)), "");
  expect_error(one({1, 1, 1, 1, 1}, 0, 0), "at most 4 axes");
  expect_error(one({huge}, 0, 0), "extents of at most 2^40");
  expect_error(one({uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0), "less than 2^63");
  expect_error(one({17}, 0, 0), "68 bytes inside the data of 64");
  expect_error(one({4}, 0, 52), "16 bytes inside");
  expect_error(one({4}, 0, huge), "inside the file");
  expect_error(one({31}, 8, 0), "blocks of 32");
  expect_error(one({128}, 12, 0), "blocks of 256");
  for (const uint32_t type : {3u, 6u, 7u, 20u}) expect_error(one({48}, type, 0), "blocks of 32");
  for (const uint32_t type : {10u, 11u}) expect_error(one({128}, type, 0), "blocks of 256");
  const std::vector<std::pair<uint32_t, size_t>> sizes{{3, 20}, {6, 22}, {7, 24}, {20, 18}};
  for (const auto& [type, bytes] : sizes) {
    EXPECT_EQ(error_of(one({32}, type, 0, bytes)), "");
    expect_error(one({32}, type, 0, bytes - 1), std::to_string(bytes) + " bytes inside the data");
  }
  expect_error(one({4}, 9, 0), "Q8_0");
  expect_error(one({4}, 99, 0), "type 99");
  expect_error(Header().begin(1, 0).tensor("", {4}, 0, 0).with_data(64), "tensors with names");
  expect_error(Header().begin(2, 0).tensor("a", {4}, 0, 0).tensor("a", {4}, 0, 0).with_data(64), "each tensor once");
}

TEST_F(BrokenGguf, CutAnywhereItIsAnError) {
  const std::string whole = read_file(fixtures + "blocks.gguf", 1 << 20);
  EXPECT_EQ(error_of(whole), "");
  for (size_t size = 0; size < whole.size() - 32; size += size < 1200 ? 1 : 97)  // the end may be padding
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size;
}

TEST_F(BrokenGguf, RandomBytesEndInOneError) {
  const std::string whole = read_file(fixtures + "blocks.gguf", 1 << 20);
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = whole;
    for (int k = 0; k < 3; ++k) bytes[random() % 700] = static_cast<char>(random());
    const std::string error = error_of(bytes);
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

TEST_F(BrokenGguf, OtherArchitecturesAreNamed) {
  const std::string path = folder_.write(
      "llama.gguf", Header().begin(0, 1).text("general.architecture").number<uint32_t>(8).text("llama").with_data(0));
  try {
    CheckpointFile file(path);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("wanted flux, sd3 or t5encoder; got llama"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace heddle
