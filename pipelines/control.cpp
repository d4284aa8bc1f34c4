// From the preset's `attention:` to a compiled plan.
#include "pipelines/control.h"

#include "kernels/core/error.h"
#include "pipelines/joint_text.h"

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

void Control::passed(int step) {
  bank_.drop_stored(step);
  if (const CompiledPlan* compiled = plan())
    bank_.drop_kept([&](const std::string& slot, int site) { return !compiled->reuses_after(step, slot, site); });
}

std::vector<Member> run_members(Model& model, const Preset& preset, const std::optional<MethodPrompts>& brought,
                                int64_t length) {
  std::vector<Member> members;
  const auto add = [&](const std::string& name, const std::string& prompt) {
    members.push_back({name, prompt_tokens(model, prompt, preset.text, length)});
  };
  if (brought) {
    for (const auto& [name, prompt] : brought->members) add(name, prompt);
    return members;
  }
  const std::vector<std::string>& prompts = preset.prompt.values;
  for (size_t i = 0; i < prompts.size(); ++i) add(prompts.size() == 1 ? "" : "prompt" + std::to_string(i), prompts[i]);
  return members;
}

}  // namespace heddle
