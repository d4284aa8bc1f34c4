// spiece.model: what sentencepiece (Kudo & Richardson 2018) writes, a ModelProto in the protocol buffer encoding
// (sentencepiece_model.proto). Read here, each length checked before it is used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace heddle {

struct SpieceModel {
  enum class Kind : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string text;
    float score = 0;  // log probability
    Kind kind = Kind::normal;
  };
  std::vector<Piece> pieces;  // by id
  int64_t unknown = 0;
  std::string charsmap;  // see charsmap.h; may be empty

  // Error(input) for a file that is malformed or of another kind than unigram with a space before each word.
  static SpieceModel read(const std::string& path);
  static SpieceModel parse(std::string_view bytes, const std::string& where);
};

}  // namespace heddle
