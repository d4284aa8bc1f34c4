// What T5 adds to the text of SD3 and FLUX, and which settings of text their models take.
#pragma once

#include <string>

#include "attention_control/plan/words.h"
#include "io/preset.h"
#include "pipelines/model.h"

namespace heddle {

// Error(usage) for settings of text that the model's family has no use for.
void check_text_settings(Model& model, const TextSettings& settings);

// States of T5's part of the text: the preset's, else the family's own: SD3 256, FLUX dev 512 and schnell 256. 0 for
// families without it.
int64_t t5_length(Model& model, const TextSettings& settings);

// [1,length,width]; zeros where an SD3 folder has no T5.
Tensor t5_states(Model& model, const std::string& text, int64_t length);

// Where the tokens of a prompt stand among `length` text states: of SD3 those of the first CLIP and then T5's, so that
// a word has places in both; of FLUX T5's; of others CLIP's.
PromptTokens prompt_tokens(Model& model, const std::string& text, const TextSettings& settings, int64_t length);

}  // namespace heddle
