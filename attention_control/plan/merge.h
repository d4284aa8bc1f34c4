// Merging the edits of one site, lane and step into one program.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attention_control/plan/program.h"

namespace heddle {

// True for an edit that changes nothing: temperature 1, weight 0, a bias of zeros.
bool is_neutral(const Edit& edit);

struct NumberedEdit {
  size_t number = 0;  // among all declared
  const Edit* edit = nullptr;
};

// Those that change something: a method at zero strength has none, nor has a branch that is added with weight 0.
std::vector<NumberedEdit> effective(const std::vector<NumberedEdit>& edits);

// `edits` in the order of the preset, without Keep and Reuse. Null where every edit is neutral. `place` is for errors.
std::shared_ptr<const Program> merge(const std::vector<NumberedEdit>& edits, const std::string& place);

}  // namespace heddle
