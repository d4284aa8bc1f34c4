// Broken safetensors files, indices and folders.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "io/file.h"
#include "io/json.h"
#include "io/weights.h"
#include "tests/io/hostile.h"

namespace heddle::testing {
namespace {

std::string with_length(uint64_t length, const std::string& rest) {
  return std::string(reinterpret_cast<const char*>(&length), 8) + rest;
}
std::string whole(const std::string& header, size_t data) {
  return with_length(header.size(), header + std::string(data, 'd'));
}

// One tensor "w" with the given fields, over 16 bytes of data.
std::string entry(const std::string& fields) {
  return whole("{\"w\":{" + fields + "}}", 16);
}
std::string shaped(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return entry("\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets);
}
std::string two(const std::string& first, const std::string& second) {
  return whole(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":)" + first +
                   R"(},"b":{"dtype":"U8","shape":[8],"data_offsets":)" + second + "}}",
               16);
}

struct ShapedCase {
  const char *name, *dtype, *shape, *offsets;
};
constexpr ShapedCase shaped_cases[] = {
    {"dtype unknown", "F31", "[4]", "[0,16]"},
    {"dtype lower", "f32", "[4]", "[0,16]"},
    {"dtype empty", "", "[4]", "[0,16]"},
    {"dtype of other width", "F64", "[4]", "[0,16]"},
    {"shape number", "F32", "4", "[0,16]"},
    {"shape text", "F32", "\"4\"", "[0,16]"},
    {"shape of text", "F32", "[\"4\"]", "[0,16]"},
    {"shape fraction", "F32", "[4.0]", "[0,16]"},
    {"shape negative", "F32", "[-4]", "[0,16]"},
    {"shape two negatives", "F32", "[-2,-2]", "[0,16]"},
    {"shape huge", "F32", "[9223372036854775807]", "[0,16]"},
    {"shape past 64 bits", "F32", "[99999999999999999999]", "[0,16]"},
    {"shape unsigned", "F32", "[18446744073709551612]", "[0,16]"},
    {"shape wraps to 16 bytes", "F32", "[4611686018427387908]", "[0,16]"},
    {"shape product wraps", "F32", "[4294967296,4294967296,4]", "[0,16]"},
    {"shape product wraps to zero", "U8", "[4294967296,4294967296]", "[0,0]"},
    {"shape huge times zero", "U8", "[9223372036854775807,9223372036854775807,0]", "[0,0]"},
    {"shape nine axes", "F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]"},
    {"shape nested", "F32", "[[4]]", "[0,16]"},
    {"shape too small", "F32", "[3]", "[0,16]"},
    {"shape too large", "F32", "[5]", "[0,16]"},
    {"offsets one", "F32", "[4]", "[16]"},
    {"offsets three", "F32", "[4]", "[0,8,16]"},
    {"offsets none", "F32", "[4]", "[]"},
    {"offsets text", "F32", "[4]", "[\"0\",\"16\"]"},
    {"offsets fraction", "F32", "[4]", "[0.0,16.0]"},
    {"offsets backwards", "F32", "[4]", "[16,0]"},
    {"offsets negative", "F32", "[4]", "[-16,0]"},
    {"offsets past the end", "F32", "[5]", "[0,20]"},
    {"offsets far past the end", "F32", "[4]", "[9223372036854775791,9223372036854775807]"},
    {"offsets past 63 bits", "F32", "[4]", "[18446744073709551600,18446744073709551616]"},
    {"offsets null", "F32", "[4]", "null"},
    {"hole before", "U8", "[8]", "[8,16]"},
    {"hole after", "U8", "[8]", "[0,8]"},
    {"not a number as offset", "F32", "[4]", "[NaN,16]"},
};

std::map<std::string, std::string> broken_files() {
  const std::string good = R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
  std::map<std::string, std::string> files;
  for (const ShapedCase& c : shaped_cases) files[c.name] = shaped(c.dtype, c.shape, c.offsets);
  files["empty"] = "";
  files["text"] = "this is not a tensor file at all";
  files["zip"] = "PK\3\4 pretending to be a checkpoint";
  files["pickle"] = std::string("\x80\x02}q\0.", 6) + std::string(40, 'x');
  files["length zero"] = with_length(0, std::string(16, 'd'));
  files["length past the end"] = with_length(1000, good);
  files["length over the limit"] = with_length(100'000'001, good);
  files["length huge"] = with_length(UINT64_MAX, good);
  files["length negative"] = with_length(uint64_t{1} << 63, good);
  files["length wraps"] = with_length(UINT64_MAX - 7, good);
  files["header list"] = whole("[1,2,3]", 16);
  files["header number"] = whole("12345678", 16);
  files["header spaces first"] = whole("  " + good, 16);
  files["header cut"] = whole(good.substr(0, good.size() - 1), 16);
  files["header with a tail"] = whole(good + "x", 16);
  files["header not UTF-8"] = whole("{\"\xff\":{}}", 0);
  files["header zero byte"] = whole(std::string("{\"w\0\":1}", 8), 0);
  files["header deep"] = whole("{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}", 0);
  files["header only braces"] = whole("{" + std::string(500, '{'), 0);
  files["same name twice"] = whole(
      R"({"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"w":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}})",
      16);
  files["same field twice"] = entry(R"("dtype":"U8","dtype":"I8","shape":[16],"data_offsets":[0,16])");
  files["empty name"] = whole(R"({"":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}})", 16);
  files["entry null"] = whole(R"({"w":null})", 0);
  files["entry number"] = whole(R"({"w":3})", 0);
  files["entry list"] = whole(R"({"w":[0,16]})", 0);
  files["entry empty"] = whole(R"({"w":{}})", 0);
  files["field unknown"] = entry(R"("dtype":"U8","shape":[16],"data_offsets":[0,16],"strides":[1])");
  files["no dtype"] = entry(R"("shape":[4],"data_offsets":[0,16])");
  files["no shape"] = entry(R"("dtype":"F32","data_offsets":[0,16])");
  files["no offsets"] = entry(R"("dtype":"F32","shape":[4])");
  files["dtype number"] = entry(R"("dtype":32,"shape":[4],"data_offsets":[0,16])");
  files["overlap"] = two("[0,8]", "[4,12]");
  files["same place"] = two("[0,8]", "[0,8]");
  files["hole between"] = two("[0,8]", "[9,17]");
  files["empty amid another"] = whole(
      R"({"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})",
      16);
  files["no tensors but data"] = whole("{}", 16);
  files["metadata number"] = whole(R"({"__metadata__":{"a":1}})", 0);
  files["metadata list"] = whole(R"({"__metadata__":["a"]})", 0);
  files["metadata null"] = whole(R"({"__metadata__":null})", 0);
  files["metadata nested"] = whole(R"({"__metadata__":{"a":{"b":"c"}}})", 0);
  const std::string file = whole(good, 16);
  for (size_t cut = 1; cut < file.size(); cut += cut < 12 ? 1 : 5)
    files["cut at " + std::to_string(cut)] = file.substr(0, cut);
  files["one byte more"] = file + "x";
  return files;
}

TEST(HostileSafetensors, EachIsOneError) {
  const TemporaryFolder folder;
  const auto files = broken_files();
  for (const auto& [name, bytes] : files) {
    const std::string path = folder.write("x.safetensors", bytes);
    EXPECT_EQ(fault_of(ErrorCode::input, [&] { read_safetensors(path); }), "") << name;
  }
  EXPECT_GE(files.size(), 90u);
}

TEST(HostileSafetensors, FlippedBitsNeverDoWorse) {
  const TemporaryFolder folder;
  const std::string path = folder.path("x.safetensors");
  write_safetensors(path, {{"a.weight", Tensor::full({2, 3}, 1)}, {"b", Tensor::full({4}, 2, DType::bf16)}},
                    {{"k", "v"}});
  const std::string good = read_file(path, 1 << 20);
  for (size_t bit = 0; bit < good.size() * 8; bit += 3) {
    folder.write("x.safetensors", flip_bit(good, bit));
    ASSERT_EQ(fault_unless_sound(ErrorCode::input, [&] { read_safetensors(path); }), "") << bit;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    folder.write("x.safetensors", mutate(good, random));
    ASSERT_EQ(fault_unless_sound(ErrorCode::input, [&] { read_safetensors(path); }), "") << i;
  }
}

TEST(HostileSafetensors, IndicesAndFolders) {
  const TemporaryFolder folder;
  write_safetensors(folder.path("a.safetensors"), {{"w", Tensor::zeros({2})}});
  folder.write("broken.safetensors", "x");
  std::filesystem::create_directory(folder.path("dir.safetensors"));
  for (const std::string index : {"",
                                  "{",
                                  "[]",
                                  "{}",
                                  "null",
                                  "3",
                                  R"({"weight_map":null})",
                                  R"({"weight_map":[]})",
                                  R"({"weight_map":"a.safetensors"})",
                                  R"({"weight_map":{"w":null}})",
                                  R"({"weight_map":{"w":1}})",
                                  R"({"weight_map":{"w":["a.safetensors"]}})",
                                  R"({"weight_map":{"w":""}})",
                                  R"({"weight_map":{"w":"."}})",
                                  R"({"weight_map":{"w":".."}})",
                                  R"({"weight_map":{"w":"../a.safetensors"}})",
                                  R"({"weight_map":{"w":"/a.safetensors"}})",
                                  R"({"weight_map":{"w":"./a.safetensors"}})",
                                  R"({"weight_map":{"w":"sub\\a.safetensors"}})",
                                  R"({"weight_map":{"w":"a.safetensors\u0000.safetensors"}})",
                                  R"({"weight_map":{"w":"a.bin"}})",
                                  R"({"weight_map":{"w":"missing.safetensors"}})",
                                  R"({"weight_map":{"w":"broken.safetensors"}})",
                                  R"({"weight_map":{"w":"dir.safetensors"}})",
                                  R"({"weight_map":{"v":"a.safetensors"}})",
                                  R"({"weight_map":{"w":"a.safetensors","w":"a.safetensors"}})"}) {
    const std::string path = folder.write("x.safetensors.index.json", index);
    EXPECT_EQ(fault_of(ErrorCode::input, [&] { SafetensorsSet set(path); }), "") << index;
  }
  for (const std::string& path :
       {folder.path("none"), folder.root(), folder.path("a.safetensors/x"), std::string("/dev/null"),
        std::string(5000, 'n'), std::string("a\0b.safetensors", 15), folder.path("dir.safetensors")}) {
    EXPECT_EQ(fault_of(ErrorCode::input, [&] { Weights weights(path); }), "") << path;
  }
}

TEST(HostileJson, MutationsNeverDoWorse) {
  const std::string good =
      R"({"_class_name": "UNet2DConditionModel", "a": [1, -2.5e3, {"b": null}], "c": "\u00e9\n", "d": -Infinity})";
  std::mt19937 random(2);
  for (int i = 0; i < 5000; ++i) {
    const std::string text = mutate(good, random);
    ASSERT_EQ(fault_unless_sound(ErrorCode::input,
                                 [&] { Json::parse(text, "c.json").get<Json>("a").as<std::vector<Json>>(); }),
              "")
        << text;
  }
}

}  // namespace
}  // namespace heddle::testing
