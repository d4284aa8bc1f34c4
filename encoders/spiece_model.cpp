// The protocol buffer encoding (protobuf.dev/programming-guides/encoding), as much of it as ModelProto uses.
#include "encoders/spiece_model.h"

#include <bit>
#include <optional>

#include "io/file.h"
#include "kernels/core/error.h"

namespace heddle {

namespace {

constexpr int64_t largest_file = int64_t{64} << 20;  // published ones have up to 5 MB
constexpr size_t most_pieces = size_t{1} << 20;

// One field of a message: a number, or bytes.
struct Field {
  uint64_t tag = 0;
  uint64_t number = 0;
  std::string_view bytes;
};

// The fields of a message, one after another.
class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : rest_(bytes), where_(where) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const uint64_t key = varint();
    Field field{.tag = key >> 3};
    switch (key & 7) {
      case 0:
        field.number = varint();
        break;
      case 1:
        field.number = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.number = fixed(4);
        break;
      default:
        refuse("a field of kind " + std::to_string(key & 7));
    }
    if (field.tag == 0) refuse("a field without a number");
    return field;
  }

  [[noreturn]] void refuse(const std::string& got) const {
    fail(ErrorCode::input, where_, "a sentencepiece model", got, "a file that was copied whole");
  }

 private:
  std::string_view take(uint64_t count) {
    if (count > rest_.size())
      refuse(std::to_string(count) + " bytes where " + std::to_string(rest_.size()) + " are left");
    const std::string_view out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return out;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    refuse("a number of more than 64 bits");
  }

  uint64_t fixed(size_t count) {
    const std::string_view bytes = take(count);
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return value;
  }

  std::string_view rest_;
  const std::string& where_;
};

SpieceModel::Piece read_piece(std::string_view bytes, const std::string& where) {
  SpieceModel::Piece piece;
  Message message(bytes, where);
  while (const auto field = message.next()) {
    if (field->tag == 1) piece.text = field->bytes;
    if (field->tag == 2) piece.score = std::bit_cast<float>(static_cast<uint32_t>(field->number));
    if (field->tag == 3 && (field->number < 1 || field->number > 6))
      message.refuse("a piece of kind " + std::to_string(field->number));
    if (field->tag == 3) piece.kind = static_cast<SpieceModel::Kind>(field->number);
  }
  return piece;
}

void read_trainer(std::string_view bytes, const std::string& where, SpieceModel& model) {
  constexpr const char* kinds[] = {"none", "unigram", "BPE", "WORD", "CHAR"};
  Message message(bytes, where);
  while (const auto field = message.next()) {
    if (field->tag == 3 && field->number != 1) {
      fail(ErrorCode::input, where, "a unigram model, as T5 has it",
           field->number < 5 ? kinds[field->number] : "kind " + std::to_string(field->number));
    }
    if (field->tag == 24 && field->number != 0)
      fail(ErrorCode::input, where, "white space before words, as T5 has it", "after them");
    if (field->tag == 40) model.unknown = static_cast<int64_t>(field->number);
  }
}

void read_normalizer(std::string_view bytes, const std::string& where, SpieceModel& model) {
  Message message(bytes, where);
  while (const auto field = message.next()) {
    if (field->tag == 2) model.charsmap = field->bytes;
    if ((field->tag == 3 || field->tag == 5) && field->number == 0)
      fail(ErrorCode::input, where, "a space before the first word, as T5 has it", "none");
  }
}

}  // namespace

SpieceModel SpieceModel::parse(std::string_view bytes, const std::string& where) {
  SpieceModel model;
  Message message(bytes, where);
  while (const auto field = message.next()) {
    if (field->tag == 1) model.pieces.push_back(read_piece(field->bytes, where));
    if (field->tag == 2) read_trainer(field->bytes, where, model);
    if (field->tag == 3) read_normalizer(field->bytes, where, model);
    if (model.pieces.size() > most_pieces) message.refuse("more than 2^20 pieces");
  }
  if (model.pieces.empty()) message.refuse("no pieces");
  if (model.unknown < 0 || model.unknown >= static_cast<int64_t>(model.pieces.size()))
    message.refuse("unknown piece " + std::to_string(model.unknown) + " of " + std::to_string(model.pieces.size()));
  return model;
}

SpieceModel SpieceModel::read(const std::string& path) {
  return parse(read_file(path, largest_file), path);
}

}  // namespace heddle
