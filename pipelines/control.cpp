// From the preset's `attention:` to a compiled plan.
#include "pipelines/control.h"

#include "encoders/prompt.h"
#include "kernels/core/error.h"

namespace heddle {
namespace {

void check_same(const std::vector<std::string>& given, const MethodPrompts& brought, const std::string& where) {
  if (given.empty()) return;
  bool same = given.size() == 1
                  ? given[0] == brought.members.back().second || given[0] == brought.members.front().second
                  : given.size() == brought.members.size();
  for (size_t i = 0; same && given.size() > 1 && i < given.size(); ++i) same = given[i] == brought.members[i].second;
  if (!same)
    fail(ErrorCode::usage, where, "the prompts of the method, or no `prompt`", "\"" + given[0] + "\"",
         "leave out `prompt`");
}

PromptTokens tokens_of(const ClipTokenizer& tokenizer, const std::string& text, const PromptOptions& options,
                       int64_t length) {
  PromptTokens out{.text = text, .tokens = {}, .end = 0, .length = length};
  const std::vector<PromptChunk> chunks = chunk_prompt(tokenizer, text, options);
  int64_t position = 0;
  for (const PromptChunk& chunk : chunks) {
    for (size_t i = 0; i < chunk.ids.size(); ++i, ++position) {
      const Piece& piece = chunk.pieces[i];
      if (piece.begin < piece.end) out.tokens.push_back({position, piece.begin, piece.end, chunk.ids[i]});
      if (out.end == 0 && i > 0 && piece.begin == piece.end && chunk.ids[i] == tokenizer.eos()) out.end = position;
    }
  }
  return out;
}

}  // namespace

Control::Control(const Preset& preset) {
  std::string bringer;
  for (const AttentionEntry& entry : preset.attention) {
    AskedMethod asked = make_method(entry.name, entry.settings);
    for (const AskedMethod& other : methods_) {
      if (other.name == asked.name)
        fail(ErrorCode::usage, asked.where, "each method once", asked.name + " at " + other.where + " already",
             "one entry with all settings");
    }
    if (auto brought = asked.method->prompts()) {
      if (prompts_ && prompts_->members != brought->members)
        fail(ErrorCode::usage, asked.where, "one method that brings the prompts, or equal ones",
             bringer + " and " + asked.name);
      check_same(preset.prompt.values, *brought, asked.where);
      if (brought->seed && *brought->seed != preset.seed) {
        fail(ErrorCode::usage, asked.where + " seed",
             "the preset's seed " + std::to_string(preset.seed) + ": all pictures begin with its noise",
             std::to_string(*brought->seed), "`seed: " + std::to_string(*brought->seed) + "` in the preset");
      }
      if (prompts_) brought->shared_noise = brought->shared_noise || prompts_->shared_noise;
      prompts_ = std::move(brought);
      bringer = asked.name;
    }
    methods_.push_back(std::move(asked));
  }
}

const CompiledPlan& Control::compile(const RunShape& run) {
  PlanBuilder builder(run);
  for (const AskedMethod& asked : methods_) {
    builder.speaks(asked.name, asked.where, asked.over);
    asked.method->declare(builder);
  }
  plan_ = std::make_unique<CompiledPlan>(heddle::compile(builder));
  return *plan_;
}

AttentionContext Control::context(const Moment& moment, const std::vector<Lane>& lanes) {
  captures_.clear();
  return {.moment = moment, .lanes = lanes, .plan = plan(), .captures = &captures_, .bank = &bank_};
}

std::vector<Member> run_members(Model& model, const Preset& preset, const std::optional<MethodPrompts>& brought,
                                int64_t length) {
  const PromptOptions options{.weights = preset.text.weights == PromptWeights::a1111,
                              .long_prompts = preset.text.long_prompts == LongPrompts::chunks};
  const ClipTokenizer& tokenizer = model.tokenizers().front();
  std::vector<Member> members;
  if (brought) {
    for (const auto& [name, prompt] : brought->members)
      members.push_back({name, tokens_of(tokenizer, prompt, options, length)});
    return members;
  }
  const std::vector<std::string>& prompts = preset.prompt.values;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::string name = prompts.size() == 1 ? "" : "prompt" + std::to_string(i);
    members.push_back({name, tokens_of(tokenizer, prompts[i], options, length)});
  }
  return members;
}

}  // namespace heddle
