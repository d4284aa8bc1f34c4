// Terms: what may be added to the scaled scores of one site and lane. A closed set of small forms, each of which every
// tier can evaluate; `Dense` is the open door. A mask is a term of 0 and -inf.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "attention_control/plan/captures.h"
#include "attention_control/plan/lane.h"
#include "attention_control/plan/moment.h"
#include "attention_control/plan/site.h"
#include "kernels/core/tensor.h"
#include "kernels/ops/attention.h"

namespace heddle {

// table[query label][key label]; labels of tokens are small integers: boxes, subjects, words, documents.
struct Labels {
  Tensor query;  // [1|R,Nq] i64, R rows of the lane
  Tensor key;    // [1|R,Nk] i64
  Tensor table;  // [Lq,Lk] f32
};
// One number for each key: log weights of words, hidden padding.
struct Column {
  Tensor bias;  // [1|R,Nk] f32
};
// One number for each query; it changes how much this source weighs against others in the same softmax.
struct Row {
  Tensor bias;  // [1|R,Nq] f32
};
// One number for all scores between two named segments.
struct SegmentPair {
  std::string query, key;
  float bias = 0;
};
// Queries and keys of one segment see each other only where their grid places differ by at most so much; -1: no limit.
struct Window {
  std::string segment = "image";
  int64_t frames = -1, height = -1, width = -1;
};
struct Dense {
  Tensor bias;  // [1|R,1|H,Nq,Nk] f32
};
using TermForm = std::variant<Labels, Column, Row, SegmentPair, Window, Dense>;

// Where a term is evaluated.
struct TermPlace {
  const AttentionSite& site;
  const SiteTokens& tokens;
  const Lane& lane;
  const Moment& moment;
  const Captures& captures;  // of this evaluation so far, raw ones of this very site included
};

// `text` names the term in explain; equal texts of one method are one term. Terms that depend on what the run has shown
// are made at the site, just before the kernel.
struct Term {
  std::string text;
  TermForm form;
  std::function<std::vector<TermForm>(const TermPlace&)> at_run_time = {};
  bool empty_rows_are_zero = false;  // a query left without any key gives 0 instead of an error
};

// True where the term differs between the rows of a lane.
bool has_rows(const TermForm& form);
// True where the term changes no score.
bool is_neutral(const TermForm& form);
// How many terms of the kernel they become; all columns are one. A term made at run time counts as one.
int kernel_terms(const std::vector<Term>& terms);
// Bytes of what the kernel adds, for terms that are known before the run.
int64_t bytes_of(const TermForm& form, const SiteTokens& tokens);
// What the kernel adds. Error(internal) where sizes contradict the tokens.
std::vector<ScoreTerm> lower(const TermForm& form, const AttentionSite& site, const SiteTokens& tokens);
std::vector<ScoreTerm> lower(const std::vector<Term>& terms, const TermPlace& place);

}  // namespace heddle
